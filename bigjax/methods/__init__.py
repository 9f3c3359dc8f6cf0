"""What changes how any task is trained: each method a wrapper that its section of the config turns
on, and the one table of them. The tasks, the engine's own code and the loop know none."""

from bigjax.config.choices import Sections
from bigjax.config.sections import Run
from bigjax.config.values import Config
from bigjax.errors import UserError
from bigjax.methods import (
    adversarial,
    distillation,
    federated,
    given,
    int8,
    lora,
    privacy,
    pruning,
)
from bigjax.methods.distillation import Distillation
from bigjax.methods.federated import Federated
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
    "federated": [Federated],
}
"""What takes the section of each method, which every task has."""


def as_trained(task: Task, config: Config) -> Task:
    """The task as the methods of the config train it; itself where all are off."""
    int8.refuse_in_training(config)
    task = given.with_start(task, config)
    task = lora.wrap(distillation.wrap(task, config), config)
    private, seed = config.of(Privacy), config.of(Run).seed
    if private.is_on and config.of(Federated).is_on:
        raise UserError(
            "federated training does not go with privacy: what is promised is counted for "
            "examples, and a round is made of clients; leave one of them out"
        )
    task = federated.as_trained(task, config.of(Federated), seed=seed)
    return privacy.as_trained(task, private, seed=seed)


def as_saved(model: Model, config: Config, *, folder: str) -> Saved | None:
    """How the checkpoints of the run in `folder` hold `model`; None where they hold it as it is."""
    return lora.saved(model, config, folder=folder)


as_used = int8.as_used
pruned = pruning.wrap


def gradients(task: Task, config: Config, *, num_updates: int) -> Gradients:
    """How the gradient of an update comes about; `PLAIN` where all methods are off."""
    found = adversarial.gradients(config.of(adversarial.KIND), task)
    found = federated.gradients(found, config.of(Federated), task)
    return privacy.gradients(found, config.of(Privacy), task, num_updates=num_updates)
