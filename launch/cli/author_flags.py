"""Flags for what the record of a run does not know: who made it, and why."""

from absl import flags

FLAGS = flags.FLAGS


def define() -> None:
  """Defines the flags of a contribution's author."""
  flags.DEFINE_list('authors', [], 'Contribution: names of its authors.')
  flags.DEFINE_string('contact', '', 'Contribution: e-mail or web address.')
  flags.DEFINE_string('description', '', 'Contribution: what the method is.')
  flags.DEFINE_string('repository', '', 'Contribution: address of the code.')
  flags.DEFINE_string('paper', '', 'Contribution: address of the paper.')
  flags.DEFINE_string('licence', 'CC0-1.0', 'Contribution: of its files.')
  flags.DEFINE_list('extra_data', ['none'], 'Contribution: other data used.')
  flags.DEFINE_integer('search_trials', 0, 'Contribution: runs tried before.')


def author() -> object | None:
  """The flags' `write.Author`; None where none was given."""
  from glue_jax.leaderboard.contribution import write

  if not FLAGS.authors and not FLAGS.contact:
    return None
  return write.Author(
    tuple(FLAGS.authors),
    FLAGS.contact,
    FLAGS.description,
    paper=FLAGS.paper,
    repository=FLAGS.repository,
    licence=FLAGS.licence,
    extra_data=tuple(FLAGS.extra_data),
    search_trials=FLAGS.search_trials,
  )
