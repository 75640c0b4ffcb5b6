"""Records of freely distributed Polish data sets beside LEPISZCZE's own.

WCCRS (Kocoń et al. 2019, RANLP), the consumer reviews behind PolEmo, and 8TAGS
(Dadas et al. 2020, arXiv 1910.11834) in the files of sdadas/
polish-sentence-evaluation; the names of their classes were read from samples,
the source does not state them. NKJP's named entities (National Corpus of
Polish, Przepiórkowski et al. 2012) in the IOB files of CLARIN-PL/PolDeepNer,
reduced to the outer of their nested layers.
"""

from glue_jax.data.tasks.lepiszcze import iob
from glue_jax.data.tasks.task import STEMS, Task, Tsv

_SENTIMENT = ('neutral', 'ambiguous', 'positive', 'negative')
_TOPICS = (
  'film',
  'history',
  'food',
  'medicine',
  'motoring',
  'work',
  'sport',
  'technology',
)
_ENTITIES = (
  'persName',
  'persName-forename',
  'persName-surname',
  'persName-addName',
  'orgName',
  'geogName',
  'placeName',
  'placeName-district',
  'placeName-settlement',
  'placeName-region',
  'placeName-country',
  'placeName-bloc',
  'date',
  'time',
)


def _lines(name, folder, labels, counts) -> Task:
  return Task(
    name=name,
    kind='classification',
    columns=('sentence',),
    labels=labels,
    metrics=('macro_f1', 'accuracy'),
    splits=dict(zip(('train', 'validation', 'test'), counts)),
    folder=folder,
    stems=STEMS,
    style='labelled_lines',
  )


RECORDS = (
  _lines('wccrs_hotels', 'WCCRS_HOTELS', _SENTIMENT, (12435, 1555, 1554)),
  _lines('wccrs_medicine', 'WCCRS_MEDICINE', _SENTIMENT, (16201, 2025, 2025)),
  _lines('8tags', '8TAGS', _TOPICS, (40001, 5000, 4372)),
  Task(
    name='nkjp_ner',
    kind='token_classification',
    columns=('tokens',),
    labels=iob(_ENTITIES),
    metrics=('macro_f1', 'micro_f1', 'accuracy'),
    splits={},  # cut by whole documents, so counts depend on the copy
    test_splits=(),
    folder='nkjp_ner',
    stems=STEMS,
    tsv=Tsv(('0',), label='-1'),
    style='nested_conll',
    seq_mode='conll',
  ),
)
