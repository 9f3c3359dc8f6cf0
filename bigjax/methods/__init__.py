"""What changes how any task is trained: each method a wrapper that its section of the config turns
on, and the one table of them. The tasks, the engine's own code and the loop know none."""

from bigjax.config.choices import Sections
from bigjax.config.values import Config
from bigjax.methods import adversarial
from bigjax.methods.gradient import Gradients
from bigjax.tasks.task import Task

SECTIONS: Sections = {
    "adversarial": [adversarial.KIND],
}
"""What takes the section of each method, which every task has."""


def as_trained(task: Task, config: Config) -> Task:  # noqa: ARG001
    """The task as the methods of the config train it; itself where all are off."""
    return task


def gradients(task: Task, config: Config) -> Gradients:
    """How the gradient of an update comes about; `PLAIN` where all methods are off."""
    return adversarial.gradients(config.of(adversarial.KIND), task)
