"""What changes how any task is trained: each method a wrapper that its section of the config turns
on, and the one table of them. The tasks, the engine's own code and the loop know none."""

from bigjax.config.choices import Sections
from bigjax.config.sections import Run
from bigjax.config.values import Config
from bigjax.methods import adversarial, distillation, given, int8, lora, privacy, pruning
from bigjax.methods.distillation import Distillation
from bigjax.methods.gradient import Gradients
from bigjax.methods.int8 import Quantization
from bigjax.methods.lora import LoRA, Saved
from bigjax.methods.privacy import Privacy
from bigjax.methods.pruning import Pruning
from bigjax.tasks.task import Model, Task

SECTIONS: Sections = {
    "lora": [LoRA],
    "distill": [Distillation],
    "prune": [Pruning],
    "quantize": [Quantization],
    "adversarial": [adversarial.KIND],
    "privacy": [Privacy],
}
"""What takes the section of each method, which every task has."""


def as_trained(task: Task, config: Config) -> Task:
    """The task as the methods of the config train it; itself where all are off."""
    int8.refuse_in_training(config)
    task = given.with_start(task, config)
    task = lora.wrap(distillation.wrap(task, config), config)
    return privacy.as_trained(task, config.of(Privacy), seed=config.of(Run).seed)


def as_saved(model: Model, config: Config, *, folder: str) -> Saved | None:
    """How the checkpoints of the run in `folder` hold `model`; None where they hold it as it is."""
    return lora.saved(model, config, folder=folder)


as_used = int8.as_used
pruned = pruning.wrap


def gradients(task: Task, config: Config, *, num_updates: int) -> Gradients:
    """How the gradient of an update comes about; `PLAIN` where all methods are off."""
    found = adversarial.gradients(config.of(adversarial.KIND), task)
    return privacy.gradients(found, config.of(Privacy), task, num_updates=num_updates)
