"""Records of the 13 experiments of LEPISZCZE.

Augustyniak et al. 2022, arXiv 2211.13112. Columns, targets and chunking modes
are those of the experiment repository (CLARIN-PL/LEPISZCZE, c2e247f); class
names, their order and row counts those of the data sets' descriptions and of
the published result files (CLARIN-PL/embeddings, f8339e5). Not confirmed: row
counts of train and validation, those of test in sequence labelling, and the
order of its classes; O comes first here.

A task is read from `<data_dir>/<folder>/<split>.tsv`, .jsonl or .csv with the
columns' names in the header; `HUB` says which data set on the Hugging Face hub
that is. A task without a validation part takes 10 % of train (seed 441).
"""

from glue_jax.data.tasks.task import STEMS, Cut, Task

# Five of them are KLEJ's (Rybak et al. 2020, arXiv 2005.00630).
HUB = {
  'abusive_clauses': 'laugustyniak/abusive-clauses-pl',
  'polemo2': 'clarin-pl/polemo2-official',
  'polemo2_in': 'allegro/klej-polemo2-in',
  'polemo2_out': 'allegro/klej-polemo2-out',
  'dyk': 'allegro/klej-dyk',
  'psc': 'allegro/klej-psc',
  'cdsc_e': 'allegro/klej-cdsc-e',
  'dialogue_acts': 'clarin-pl/dialogue-acts',
  'kpwr_ner': 'clarin-pl/kpwr-ner',
  'political_advertising': 'laugustyniak/political-advertising-pl',
  'nkjp_pos': 'clarin-pl/nkjp-pos',
  'aspectemo': 'clarin-pl/aspectemo',
  'punctuation_restoration': 'clarin-pl/2021-punctuation-restoration',
}


def _words(text: str) -> tuple[str, ...]:
  return tuple(text.split())


_KLEJ_POLEMO = tuple(
  f'__label__meta_{name}' for name in ('amb', 'minus_m', 'plus_m', 'zero')
)

_DIALOGUE_ACTS = _words(
  """SelfCompletion ThirdParty acceptApology acceptOffer acceptRequest
  acceptSuggest acceptThanking addressRequest agreement alloPositive answer
  apology autoNegative autoPositive checkQuestion choiceQuestion completion
  confirm contactCheck contactIndication declineOffer declineRequest
  declineSuggest disagreement disconfirm feedbackElicitation fragment inform
  initGoodbye initGreeting initSelfIntroduction instruct interactionStructuring
  offer opening other otherQuestion pausing promise propositionalQuestion
  recording request retraction returnGoodbye returnGreeting
  returnSelfIntroduction selfCorrection selfError setQuestion stalling suggest
  sympathyExpression testQuestion thanking"""
)

_KPWR = tuple(
  f'nam_{name}'
  for name in _words(
    """adj adj_city adj_country adj_person eve eve_human
  eve_human_cultural eve_human_holiday eve_human_sport fac_bridge fac_goe
  fac_goe_stop fac_park fac_road fac_square fac_system liv_animal liv_character
  liv_god liv_habitant liv_person loc loc_astronomical loc_country_region
  loc_gpe_admin1 loc_gpe_admin2 loc_gpe_admin3 loc_gpe_city loc_gpe_conurbation
  loc_gpe_country loc_gpe_district loc_gpe_subdivision loc_historical_region
  loc_hydronym loc_hydronym_lake loc_hydronym_ocean loc_hydronym_river
  loc_hydronym_sea loc_land loc_land_continent loc_land_island
  loc_land_mountain loc_land_peak loc_land_region num_house num_phone
  org_company org_group org_group_band org_group_team org_institution
  org_nation org_organization org_organization_sub org_political_party oth
  oth_currency oth_data_format oth_license oth_position oth_tech oth_www pro
  pro_award pro_brand pro_media pro_media_periodic pro_media_radio pro_media_tv
  pro_media_web pro_model_car pro_software pro_software_game pro_title
  pro_title_album pro_title_article pro_title_book pro_title_document
  pro_title_song pro_title_treaty pro_title_tv pro_vehicle"""
  )
)

# The data set writes HEALHCARE and ENVIROMENT.
_ADVERTISING = _words(
  """DEFENSE_AND_SECURITY EDUCATION FOREIGN_POLICY HEALHCARE IMMIGRATION
  INFRASTRUCTURE_AND_ENVIROMENT POLITICAL_AND_LEGAL_SYSTEM SOCIETY
  WELFARE"""
)

_FLEXEMES = _words(
  """adj adja adjc adjp adv aglt bedzie brev burk comp conj depr fin ger imps
  impt inf interj interp num numcol pact pant pcon ppas ppron12 ppron3 praet
  pred prep qub siebie subst winien xxx"""
)


def iob(types: tuple[str, ...]) -> tuple[str, ...]:
  """O, then B-X and I-X of each type."""
  return ('O', *(f'{part}-{name}' for name in types for part in 'BI'))


def _task(
  name: str,
  columns: tuple[str, ...],
  target: str,
  labels: tuple[str, ...],
  counts: tuple[int, int | None, int],
  max_length: int | None = 512,
  mode: str = '',
  **fields,
) -> Task:
  """One experiment; `counts` are rows of train, validation and test."""
  splits = dict(zip(('train', 'validation', 'test'), counts))
  return Task(
    name=name,
    kind='token_classification' if mode else 'classification',
    columns=columns,
    labels=labels,
    # The first one picks checkpoints and enters tables; the search of the
    # official experiments maximises micro-F1 for sequence labelling.
    metrics=('macro_f1', *(('micro_f1',) if mode else ()), 'accuracy'),
    splits={split: count for split, count in splits.items() if count},
    cuts={} if counts[1] else {'validation': Cut('train', 0.1, 441)},
    label_column=target,
    seq_mode=mode,
    max_length=max_length,
    **{'folder': name, 'stems': STEMS} | fields,
  )


RECORDS = (
  _task(
    'abusive_clauses',
    ('text',),
    'class',
    ('BEZPIECZNE_POSTANOWIENIE_UMOWNE', 'KLAUZULA_ABUZYWNA'),
    (4284, 1519, 3453),
    None,
  ),
  _task(
    'polemo2',
    ('text',),
    'target',
    ('zero', 'minus', 'plus', 'amb'),
    (6573, 823, 820),
  ),
  _task('polemo2_in', ('sentence',), 'target', _KLEJ_POLEMO, (5783, 723, 722)),
  _task('polemo2_out', ('sentence',), 'target', _KLEJ_POLEMO, (5783, 494, 494)),
  _task(
    'dyk',
    ('question', 'answer'),
    'target',
    ('0', '1'),
    (4154, None, 1029),
    None,
  ),
  _task(
    'psc',
    ('extract_text', 'summary_text'),
    'label',
    ('0', '1'),
    (4302, None, 1078),
  ),
  _task(
    'cdsc_e',
    ('sentence_A', 'sentence_B'),
    'entailment_judgment',
    ('CONTRADICTION', 'ENTAILMENT', 'NEUTRAL'),
    (8000, 1000, 1000),
    None,
    folder='CDS',  # as the corpus itself is packed
    stems={
      'train': ('train', 'CDS_train'),
      'validation': ('dev', 'validation', 'CDS_trial'),
      'test': ('test', 'CDS_test'),
    },
  ),
  _task(
    'dialogue_acts', ('text',), 'label', _DIALOGUE_ACTS, (70454, 8807, 8807)
  ),
  _task(
    'kpwr_ner',
    ('tokens',),
    'ner',
    iob(_KPWR),
    (13959, None, 4323),
    mode='conll',
    folder='kpwr_ner_n82',  # as CLARIN-PL/PolDeepNer packs it
  ),
  _task(
    'political_advertising',
    ('tokens',),
    'tags',
    iob(_ADVERTISING),
    (1020, 340, 341),
    mode='conll',
  ),
  _task(
    'nkjp_pos',
    ('tokens',),
    'pos_tags',
    _FLEXEMES,
    (78219, None, 7444),
    mode='unit',
  ),
  _task(
    'aspectemo',
    ('tokens',),
    'labels',
    ('O', 'a_minus_m', 'a_minus_s', 'a_zero', 'a_plus_s', 'a_plus_m', 'a_amb'),
    (1173, None, 292),
    mode='unit',
  ),
  _task(
    'punctuation_restoration',
    ('tokens',),
    'tags',
    ('O', 'B-.', 'B-,', 'B--', 'B-:', 'B-?', 'B-!', 'B-;'),
    (800, None, 200),
    mode='unit',
    folder='punctuation_poleval2021',  # as PolEval 2021 packs it
    style='punctuation',
    stems={'train': ('train/in', 'train'), 'test': ('test-A/in', 'test')},
  ),
)
