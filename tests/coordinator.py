"""Owns a stand-in for the coordinator through which the processes of a run talk."""


class Client:
    """A coordinator that knows what other processes have said. echoes: whether of what is not known
    of them they say the same as the first process."""

    def __init__(self, *, echoes=False, **said):
        self.said, self.echoes = dict(said), echoes

    def key_value_set(self, key, text, allow_overwrite=False):
        assert allow_overwrite or key not in self.said
        self.said[key] = text

    def key_value_dir_get(self, prefix):
        return [(key, text) for key, text in self.said.items() if key.startswith(prefix)]

    def blocking_key_value_get(self, key, milliseconds):
        assert milliseconds > 0
        first = f"{key.rpartition('/')[0]}/0"
        if key not in self.said and self.echoes and first in self.said:
            return self.said[first]
        if key not in self.said:
            raise RuntimeError(f"DEADLINE_EXCEEDED: {key}")
        return self.said[key]
