"""Owns tagged sentences as files again: CoNLL columns, and JSON lines with offsets."""

import json
from collections.abc import Iterable, Iterator

from bigjax.data.text.sentences import PRE_SPLIT, Sentences
from bigjax.errors import UserError
