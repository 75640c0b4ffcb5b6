"""The record of E2E NLG: a restaurant's data put into words.

Novikova, Dušek and Rieser 2017, arXiv 1706.09254; the files of
tuetschek/e2e-dataset (trainset.csv, devset.csv, testset_w_refs.csv), or, for
training, the same rows tokenized (see readers/e2e.py). Rows of one meaning
representation are references of one text.
"""

from glue_jax.data.tasks.task import Task

RECORDS = (
  Task(
    name='e2e_nlg',
    kind='generation',
    columns=('mr',),
    label_column='ref',
    metrics=('bleu', 'rougeL', 'chrf'),
    splits={'train': 42_061, 'validation': 4_672, 'test': 4_693},
    folder='e2e_nlg',
    stems={
      'train': ('trainset', 'train', 'aligned_tokenised/train'),
      'validation': ('devset', 'validation'),
      'test': ('testset_w_refs', 'test'),
    },
    style='e2e_aligned',
    references=True,
    max_length=128,
  ),
)
