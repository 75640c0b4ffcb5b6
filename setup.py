"""Packaging of glue_jax; requirements.txt pins one set known to work."""

import pathlib

import setuptools

# Lower bounds are what the code needs; requirements.txt says what was run.
RUN_TIME = [
  'absl-py>=2.1',
  'array_record>=0.8.1; sys_platform != "win32"',
  'flatbuffers>=24.3',  # jax.export writes its files with it
  'flax>=0.12',
  'grain>=0.2.12',
  'huggingface_hub>=1.31',  # weights and tokenizers by name
  'jax>=0.10,<0.12',
  'matplotlib>=3.9',
  'ml_collections>=1.1',
  'numpy>=2.0',
  'optax>=0.2.6',
  'orbax-checkpoint>=0.12',
  'pyyaml>=6.0',  # task files
  'safetensors>=0.5',
  'scikit-learn>=1.5',
  'scipy>=1.14',
  'tensorflow-datasets>=4.9.9',  # its readers; TensorFlow is not needed
  'tokenizers>=0.22',
  'tqdm>=4.66',
  'transformers>=5.0',  # opens the folders that runs and exports leave
]

# PyTorch is the peer in tests and benchmarks, never imported at run time. The
# version is pinned because figures and golden comparisons are against it; '=='
# also takes a CPU build ('2.13.0+cpu') where the installer is given one.
PEER = ['torch==2.13.0']

# The authors' data selection, and what measures the memory of both sides.
SELECTION_PEER = ['data-selection==1.0.3', 'psutil>=5.9']

# Beam 2.77 wants numpy below 2.5: on Python 3.12 and newer it doesn't go with
# requirements.txt; there its tests are skipped unless this extra is installed.
BEAM = ['apache-beam>=2.70']
LEADERBOARD = ['jinja2>=3.1']
PARQUET = ['pyarrow>=17']  # Parquet, Arrow, folders of `datasets`
TEXTS = ['sacrebleu>=2.5']  # BLEU and chrF
SEARCH = ['optuna>=4.5']

# Loggers; each is 70 MB. MLflow keeps runs in SQLite where no server is named.
WANDB = ['wandb>=0.31']
MLFLOW = ['mlflow-skinny>=3.17', 'alembic>=1.13', 'sqlalchemy>=2.0']

DOCS = ['pdoc>=16']  # the reference, from the docstrings

NOTEBOOKS = ['ipykernel>=6.29', 'nbclient>=0.10', 'nbformat>=5.10']

setuptools.setup(
  name='glue_jax',
  version='0.2.0',
  description='Ideas about language understanding as JAX parts that compose',
  long_description=pathlib.Path(__file__).with_name('README.md').read_text(),
  long_description_content_type='text/markdown',
  author='The glue_jax authors',
  license_expression='Apache-2.0',
  license_files=['glue_jax/LICENSE'],
  classifiers=[
    'Development Status :: 4 - Beta',
    'Intended Audience :: Science/Research',
    'Operating System :: POSIX :: Linux',
    'Programming Language :: Python :: 3 :: Only',
    'Programming Language :: Python :: 3.11',
    'Programming Language :: Python :: 3.12',
    'Programming Language :: Python :: 3.13',
    'Topic :: Scientific/Engineering :: Artificial Intelligence',
  ],
  python_requires='>=3.11,<3.14',
  packages=setuptools.find_packages(
    include=['glue_jax', 'glue_jax.*', 'launch', 'launch.*']
    + ['configs', 'configs.*']
  ),
  package_data={
    'glue_jax': [
      'LICENSE',
      '**/records.json',
      'leaderboard/site/static/*',
      'leaderboard/site/templates/*',
    ],
    'launch': ['**/records.json', 'clusters/*'],
    'configs': ['**/records.json'],
  },
  install_requires=RUN_TIME,
  extras_require={
    'tpu': ['jax[tpu]>=0.10,<0.12'],
    'cuda': ['jax[cuda13]>=0.10,<0.12'],  # drivers from 580 on
    'cuda12': ['jax[cuda12]>=0.10,<0.12'],  # drivers from 525 on
    'docs': DOCS,
    'beam': BEAM,
    'bench': [*PEER, *SELECTION_PEER],
    'leaderboard': LEADERBOARD,
    'mlflow': MLFLOW,
    'notebooks': NOTEBOOKS,
    'parquet': PARQUET,
    'search': SEARCH,
    'texts': TEXTS,
    'wandb': WANDB,
    'test': [
      *PEER,
      *DOCS,
      *LEADERBOARD,
      *NOTEBOOKS,
      *PARQUET,
      *SEARCH,
      *TEXTS,
      *WANDB,
      *MLFLOW,
      *SELECTION_PEER,
      *(f'{name}; python_version < "3.12"' for name in BEAM),
      'hypothesis>=6.100',
      'mypy==2.4.1',  # another one may find other things
      'peft>=0.21',  # its folders are read and written
      'playwright>=1.50',  # drives the system's Chromium
      'pytest>=8.3',
      'pytest-xdist>=3.6',
      'ruff==0.17.5',  # another one may format differently
      'protobuf>=5',  # transformers reads sentencepiece's files with it
      'sentencepiece>=0.2,<0.2.2',  # later ones want a protobuf Beam refuses
      'setuptools>=77',  # builds the wheel that a test installs
    ],
  },
)
