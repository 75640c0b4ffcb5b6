"""Records of HumSet's five multi-label tasks.

Fekih et al. 2022, Findings of EMNLP; the data set nlp-thedeep/humset, version
1.0.0, whose card has these class names and sizes. An excerpt has any number of
labels, none too. Every task reads the same files,
`<data_dir>/humset/{train,validation,test}.jsonl` or .csv; in CSV a list is
text.
Classes are sorted by name, so that ids are those of any run.

Published baselines: 3 epochs, batch 32, length 100, learning rate 2e-5. The
splits keep documents apart: don't draw others.
"""

from glue_jax.data.tasks.task import STEMS, Hub, Task

_SECTORS = (
  'Agriculture', 'Cross', 'Education', 'Food Security', 'Health',
  'Livelihoods', 'Logistics', 'Nutrition', 'Protection', 'Shelter', 'WASH',
)  # fmt: skip

_SUBPILLARS_1D = {
  'Casualties': ('Dead', 'Injured', 'Missing'),
  'Context': (
    'Demography', 'Economy', 'Environment', 'Legal & Policy', 'Politics',
    'Security & Stability', 'Socio Cultural',
  ),
  'Covid-19': (
    'Cases', 'Contact Tracing', 'Deaths', 'Hospitalization & Care',
    'Restriction Measures', 'Testing', 'Vaccination',
  ),
  'Displacement': (
    'Intentions', 'Local Integration', 'Pull Factors', 'Push Factors',
    'Type/Numbers/Movements',
  ),
  'Humanitarian Access': (
    'Number Of People Facing Humanitarian Access Constraints/Humanitarian '
    'Access Gaps',
    'Physical Constraints', 'Population To Relief', 'Relief To Population',
  ),
  'Information And Communication': (
    'Communication Means And Preferences',
    'Information Challenges And Barriers',
    'Knowledge And Info Gaps (Hum)', 'Knowledge And Info Gaps (Pop)',
  ),
  'Shock/Event': (
    'Hazard & Threats', 'Type And Characteristics',
    'Underlying/Aggravating Factors',
  ),
}  # fmt: skip

_SUBPILLARS_2D = {
  'At Risk': ('Number Of People At Risk', 'Risk And Vulnerabilities'),
  'Capacities & Response': (
    'International Response', 'Local Response', 'National Response',
    'Number Of People Reached/Response Gaps',
  ),
  'Humanitarian Conditions': (
    'Coping Mechanisms', 'Living Standards', 'Number Of People In Need',
    'Physical And Mental Well Being',
  ),
  'Impact': (
    'Driver/Aggravating Factors', 'Impact On People',
    'Impact On Systems, Services And Networks', 'Number Of People Affected',
  ),
  'Priority Interventions': (
    'Expressed By Humanitarian Staff', 'Expressed By Population',
  ),
  'Priority Needs': (
    'Expressed By Humanitarian Staff', 'Expressed By Population',
  ),
}  # fmt: skip


def _joined(tree: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
  return tuple(f'{top}->{sub}' for top, subs in tree.items() for sub in subs)


def _task(column: str, labels: tuple[str, ...]) -> Task:
  return Task(
    name=f'humset_{column}',
    kind='multilabel',
    columns=('excerpt',),
    labels=tuple(sorted(labels)),
    metrics=(
      'macro_f1',
      'macro_precision',
      'macro_recall',
      'exact_accuracy',
    ),
    splits={'train': 117435, 'validation': 16039, 'test': 15147},
    label_column=column,
    no_labels=('None', 'NOT_MAPPED', 'UNKNOWN'),
    folder='humset',
    hub=Hub('nlp-thedeep/humset', '1.0.0'),
    stems=STEMS,
  )


RECORDS = (
  _task('sectors', _SECTORS),
  _task('pillars_1d', tuple(_SUBPILLARS_1D)),
  _task('pillars_2d', tuple(_SUBPILLARS_2D)),
  _task('subpillars_1d', _joined(_SUBPILLARS_1D)),
  _task('subpillars_2d', _joined(_SUBPILLARS_2D)),
)
