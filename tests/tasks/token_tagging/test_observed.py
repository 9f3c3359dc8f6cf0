"""What is counted of a tagger's answers, whatever stands in the texts."""

from bigjax.data.text import tokenization
from bigjax.data.text.sentences import PRE_SPLIT
from bigjax.tasks.token_tagging import use


def test_types_scores_words_and_unknown_words_are_counted(tiny_bert):
    knows = tokenization.knows(tokenization.load_tokenizer(tiny_bert))
    texts = ("", "Anna \ud800 \U0001f600 qqq", "[SEP] [UNK]")
    given = [use.prepare(text, rule=PRE_SPLIT) for text in texts]
    found = {"type": "PER", "start": 0, "end": 4, "text": "Anna", "score": 0.5}
    answers = [{"entities": []}, {"entities": [found, found]}, {"entities": []}]
    observed = use.observe(given, answers, knows=knows)
    assert observed.labels == {"PER": 2} and observed.score_sum == 1.0
    assert observed.lengths == [len(one.words) for one in given]
    assert 0 < observed.num_unknown <= sum(observed.lengths)
