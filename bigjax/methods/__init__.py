"""What changes how any task is trained: each method a wrapper that its section of the config turns
on, and the one table of them. The tasks, the engine's own code and the loop know none."""

from bigjax.config.choices import Sections
from bigjax.config.values import Config
from bigjax.methods import adversarial, distillation, given, lora
from bigjax.methods.distillation import Distillation
from bigjax.methods.gradient import Gradients
from bigjax.methods.lora import LoRA, Saved
from bigjax.tasks.task import Model, Task

SECTIONS: Sections = {
    "lora": [LoRA],
    "distill": [Distillation],
    "adversarial": [adversarial.KIND],
}
"""What takes the section of each method, which every task has."""


def as_trained(task: Task, config: Config) -> Task:
    """The task as the methods of the config train it; itself where all are off."""
    task = given.with_start(task, config)
    return lora.wrap(distillation.wrap(task, config), config)


def as_saved(model: Model, config: Config, *, folder: str) -> Saved | None:
    """How the checkpoints of the run in `folder` hold `model`; None where they hold it as it is."""
    return lora.saved(model, config, folder=folder)


def gradients(task: Task, config: Config) -> Gradients:
    """How the gradient of an update comes about; `PLAIN` where all methods are off."""
    return adversarial.gradients(config.of(adversarial.KIND), task)
