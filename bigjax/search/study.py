"""Owns where the trials of a search are kept: Optuna's storage, a file or a database, which several
processes may share. Optuna is imported here and in `draw.py` alone, when a search begins.

A trial is there from the moment it is drawn, with all its settings, and what it reports is there
before its run saves a checkpoint. So whatever a killed process leaves behind can be continued.
"""

import json
import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from bigjax.config.ranges import Range
from bigjax.config.sections import Search
from bigjax.errors import UserError
from bigjax.run_folder.lock import Turn
from bigjax.search import draw
from bigjax.search.trials import State, Trial

_MADE_OF = "bigjax"  # the attribute that holds what the study was made of
_NOTE = "note"
_STATES: Mapping[str, State] = MappingProxyType(
    {"RUNNING": "running", "COMPLETE": "trained", "PRUNED": "pruned", "FAIL": "failed"}
)


class Study:
    """The trials of the search in `workdir`."""

    def __init__(
        self,
        *,
        workdir: str,
        options: Search,
        space: Mapping[str, Range],
        higher_is_better: bool,
        made_of: Mapping[str, Any],
    ):
        """Opens the study, or makes it.

        Args:
          made_of: what decides about the trials, by name, for JSON: it has to stay.
        Raises:
          UserError: Optuna is not installed, the storage cannot be read, or the study was made of
            something else.
        """
        self._options: Search = options
        self._space = space
        self._direction = "maximize" if higher_is_better else "minimize"
        self.turn = Turn(os.path.join(workdir, ".search.lock"))
        name = options.study or os.path.basename(os.path.abspath(workdir))
        where = options.storage or os.path.join(workdir, "study.log")
        optuna = _optuna()
        with self.turn:
            try:
                self._storage = _storage(where)
                self._study = optuna.create_study(
                    storage=self._storage,
                    study_name=name,
                    direction=self._direction,
                    load_if_exists=True,
                )
                self._id = self._storage.get_study_id_from_name(name)
            except Exception as error:  # whatever a file, a database or its driver raises
                what = (str(error).strip() or type(error).__name__).splitlines()[0]
                raise UserError(
                    f"search.storage={where}: cannot be opened ({what}); expected a file, or a "
                    "URL such as sqlite:///study.db"
                ) from error
            self._compare(json.loads(json.dumps(made_of)), where=f"{where}, study {name!r}")

    def close(self) -> None:
        """Closes the connections to a database."""
        engine = getattr(self._storage, "engine", None)
        if engine is not None:
            self._storage.remove_session()
            engine.dispose()

    def trials(self) -> list[Trial]:
        """All there are, in order of their numbers."""
        return [self._trial(found) for found in self._study.get_trials(deepcopy=False)]

    def trial(self, number: int) -> Trial:
        return self._trial(self._storage.get_trial(self._trial_id(number)))

    def add(self) -> None:
        """Draws the next trial; only within `turn`, and who adds it trains it."""
        from optuna.trial import TrialState, create_trial

        trials = self._study.get_trials(deepcopy=False)
        params = draw.draw(
            self._options.method,
            space=self._space,
            seed=self._options.seed,
            number=len(trials),
            finished=[trial for trial in trials if trial.state.is_finished()],
            direction=self._direction,
        )
        distributions = draw.distributions(self._space)
        # In one go: no one ever finds it without its settings.
        self._study.add_trial(
            create_trial(state=TrialState.RUNNING, params=params, distributions=distributions)
        )

    def report(self, number: int, *, step: int, score: float) -> None:
        self._storage.set_trial_intermediate_value(self._trial_id(number), step, score)

    def finish(
        self, number: int, state: State, *, score: float | None = None, note: str = ""
    ) -> None:
        from optuna.trial import TrialState

        if note:
            self._storage.set_trial_user_attr(self._trial_id(number), _NOTE, note)
        names = {ours: TrialState[theirs] for theirs, ours in _STATES.items()}
        self._study.tell(number, score, state=names[state])

    def importances(self) -> dict[str, float]:
        """How much each setting mattered among the trained trials, in sum 1 (PED-ANOVA, Watanabe et
        al., 2023); empty where they cannot tell."""
        trained = [trial for trial in self.trials() if trial.state == "trained"]
        varied = [key for key in self._space if len({repr(t.settings[key]) for t in trained}) > 1]
        if len({trial.score for trial in trained}) < 2 or not varied:
            return {}
        return _optuna().importance.get_param_importances(self._study)

    def _trial(self, found: Any) -> Trial:
        return Trial(
            number=found.number,
            state=_STATES[found.state.name],
            settings=draw.settings_of(found.params, self._space),
            score=found.value if found.state.name == "COMPLETE" else None,
            reported=dict(found.intermediate_values),
            note=found.user_attrs.get(_NOTE, ""),
        )

    def _trial_id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._id, number)

    def _compare(self, made_of: Mapping[str, Any], *, where: str) -> None:
        was = self._study.user_attrs.get(_MADE_OF)
        if was is None:
            self._study.set_user_attr(_MADE_OF, made_of)
            return
        differ = [
            f"{name}: {was.get(name)!r} -> {made_of.get(name)!r}"
            for name in {**was, **made_of}
            if was.get(name) != made_of.get(name)
        ]
        if differ:
            raise UserError(
                f"{where}: holds a search with other settings ({'; '.join(differ)}); undo the "
                "change, or use another --workdir or search.study"
            )


def _optuna() -> Any:
    try:
        import optuna
    except ModuleNotFoundError as error:
        missing = f"--mode=search needs the package {error.name!r}"
        raise UserError(f"{missing}: pip install 'bigjax[search]'") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def _storage(where: str) -> Any:
    """Optuna's storage at a database's URL, or in a file."""
    import optuna
    from optuna.storages.journal import JournalFileBackend

    if "://" in where:
        return optuna.storages.RDBStorage(where)
    # Optuna's own lock of the file outlives a killed process by half a minute.
    lock = Turn(f"{where}.lock")
    with lock:
        _cut_off_half_a_line(where)
    return optuna.storages.JournalStorage(JournalFileBackend(where, lock_obj=lock))


def _cut_off_half_a_line(path: str) -> None:
    """What a crash of the machine leaves at the end of a file of lines; Optuna would read no
    further."""
    if not os.path.exists(path):
        return
    with open(path, "rb+") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            file.truncate(whole)
