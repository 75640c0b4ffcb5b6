"""Modules without a test file of their own name: which one covers them, why.

A key is a path below glue_jax/ without `.py`; `*` stands for the files of that
folder that have no test of their own. The layout test checks that each test is
there and reaches what it covers, and that no entry is out of date.
"""

_LOADED = 'what a loaded table, split or error of such a file looks like'
_FOLDERS = 'a tokenizer is its whole folder: files and settings'
_KERNEL = "every form of a kernel is held to the kernel's reference"
_LAWS = 'every file of methods/ is held to the laws by its FACTS'
_FAMILIES = 'every family is loaded, run and written by one test'
_SELECTION = 'its steps are only right as a whole: one selection, one result'
_SITE = 'a page is judged as built, with its plots and tables'
_MERGES = 'all ways of merging answer to the same cases'
_RUN = 'seen in what a run leaves'

COVERED = {
  'data/bundle': ('data/pipeline_test', 'what the pipeline makes'),
  'data/cache': ('data/pipeline_test', 'a second run reads what it wrote'),
  'data/encoded': ('data/tokenizing_test', 'what a tokenizer returns'),
  'data/tokenizer': ('data/tokenizing_test', 'what a folder is read as'),
  'data/tokenizer_files': ('data/tokenizing_test', 'read and written'),
  'data/tokenizers/*': ('data/tokenizers/families_test', _FOLDERS),
  'data/wordpiece': ('data/tokenizing_test', 'one way to get a tokenizer'),
  'data/examples': ('data/batching_test', 'batches are rows of it'),
  'data/label_counts': (
    'objectives/class_weights_test',
    'what weights are made of',
  ),
  'data/readers/conll': ('data/readers/polish_test', _LOADED),
  'data/readers/files': ('data/load_test', _LOADED),
  'data/readers/superglue': ('data/readers/superglue_test', _LOADED),
  'data/readers/texts': ('data/corpora_test', 'a corpus is its files'),
  'data/selection/beam_files': ('data/selection/beam_test', _SELECTION),
  'data/selection/*': ('data/selection/local_test', _SELECTION),
  'data/sentence_pairs': ('data/segments_test', 'pairs carry segments'),
  'data/table': ('data/load_test', _LOADED),
  'data/tasks/lepiszcze': ('data/readers/polish_test', _LOADED),
  'data/tasks/own_file': ('data/tasks/own_file_test', 'read by its name'),
  'data/tasks/task': ('data/tasks/by_name_test', 'a task is asked for by name'),
  'evaluation/*': ('evaluation/evaluate_test', 'scores of a whole split'),
  'export/write': ('api_test', 'a loaded model writes itself'),
  'export/model_card': ('reporting/run_record_test', 'a card is of a run'),
  'inference/embed': ('api_test', 'a loaded model embeds'),
  'inference/given_texts': ('api_test', 'what a loaded model takes'),
  'inference/open_folder': ('api_test', 'folders are loaded by it'),
  'inference/open_run': ('inference/predict_test', 'predicting opens a run'),
  'inference/run': ('inference/predict_test', 'predicting opens a run'),
  'inference/score': ('methods/dylora_test', 'ranks are scored by it'),
  'inference/submit_runs': ('inference/submit_test', 'a submission is of runs'),
  'kernels/choose': ('kernels/tree_gate_test', _KERNEL),
  'kernels/lowering': ('kernels/tree_gate_test', _KERNEL),
  'kernels/mesh_axes': ('kernels/segment_pooling_test', _KERNEL),
  'kernels/quasiseparable/*': ('kernels/quasiseparable_test', _KERNEL),
  'kernels/segment_pooling/*': ('kernels/segment_pooling_test', _KERNEL),
  'kernels/tree_gate/*': ('kernels/tree_gate_test', _KERNEL),
  'layers/barrier': (
    'compress/saved_activations_test',
    'what it parts is the memory that is kept',
  ),
  'layers/ffn/feedforward': ('models/model_test', 'the usual block has it'),
  'layers/ffn/identity': ('models/model_test', 'a layer of its own kind'),
  'layers/ffn/*': ('layers/ffn/experts_test', 'experts are made of them'),
  'layers/gates/*': ('layers/ffn/experts_test', 'each gate chooses experts'),
  'layers/heads': ('models/model_test', 'a head is read off a model'),
  'layers/mixers/gated_parts': ('layers/mixers/hydra_test', 'parts of Hydra'),
  'layers/mixers/identity': ('models/model_test', 'the baseline family'),
  'layers/mixers/matrices': ('layers/mixers/matrix_mixer_test', 'its matrices'),
  'layers/stacks/*': ('models/model_test', 'a stack is of a model'),
  'layers/stacks/first_token': (
    'layers/stacks/first_token_test',
    'asked for by its name in a config',
  ),
  'leaderboard/contribution/check': (
    'leaderboard/contribution/archive_test',
    'what it refuses are archives',
  ),
  'leaderboard/gold': ('leaderboard/contribution/write_test', 'scored by it'),
  'leaderboard/ranking/agreement': (
    'leaderboard/ranking/robustness_test',
    'robustness is agreement with what was',
  ),
  'leaderboard/ranking/place_bootstrap': (
    'leaderboard/ranking/robustness_test',
    'how sure a place is',
  ),
  'leaderboard/ranking/*': (
    'leaderboard/ranking/ranking_test',
    'one command reads, ranks, draws and writes',
  ),
  'leaderboard/score_bootstrap': ('leaderboard/scoring_test', 'its intervals'),
  'leaderboard/site/*': ('leaderboard/site/site_test', _SITE),
  'merging/search': ('merging/tasks_test', 'it searches by scores of tasks'),
  'merging/settings': ('merging/merge_test', 'an unknown method is refused'),
  'merging/sources': ('merging/merge_test', 'what is merged is opened by it'),
  'merging/study': ('merging/tasks_test', 'it tables scores of tasks'),
  'merging/*': ('merging/methods_test', _MERGES),
  'methods/*': ('laws_test', _LAWS),
  'metrics/squad': ('metrics/scores_test', 'with all other scores'),
  'models/encoder': ('models/model_test', _FAMILIES),
  'models/*': ('models/model_test', _FAMILIES),
  'objectives/*': ('objectives/objectives_test', 'one test a law of losses'),
  'optim/adam': ('optim/galore_test', 'GaLore without projection is Adam'),
  'optim/weight_average': ('methods/ema_test', 'what the method evaluates'),
  'optim/schedules': ('optim/build_test', 'a config names a schedule'),
  'peft/fusion': ('peft/scaling_test', 'beside the scales it competes with'),
  'peft/ia3': ('peft/adapter_test', 'on the same sites as adapters'),
  'peft/meft': ('methods/meft_test', 'its maths needs the reversible stack'),
  'peft/prefix': ('peft/prompts_test', 'both put words in front'),
  'peft/prompt': ('peft/prompts_test', 'both put words in front'),
  'plugs': ('method_test', 'plugs are composed by methods'),
  'probes/activation_density': ('probes/input_norms_test', 'of the same run'),
  'reporting/event_files': ('reporting/writers_test', 'written by a writer'),
  'reporting/loggers/*': ('reporting/loggers_test', 'what each service reads'),
  'reporting/plots': ('reporting/run_record_test', _RUN),
  'reporting/reliability': ('inference/calibrate_test', 'before and after'),
  'reporting/tables': ('reporting/run_record_test', _RUN),
  'studies/runner': ('studies/two_step_test', 'the second step runs cells'),
  'training/checkpoint': ('reliability_test', 'a run is killed and goes on'),
  'training/fields': ('launch/config_flag_test', 'what flags are read by'),
  'training/*': ('training/train_test', 'parts of the loop, seen in a run'),
  'weights/bundle_folder': ('export/bundle_test', 'a bundle is its folder'),
  'weights/peft_forms/pfeiffer': ('export/peft_folder_test', 'a form of ours'),
  'weights/peft_forms/*': ('weights/peft_folder_test', "held to peft's logits"),
  'weights/huggingface_tensors': (
    'weights/huggingface_test',
    'a folder is its tensors',
  ),
  'weights/saved_model': ('reliability_test', 'the same bytes after a kill'),
  'weights/sentence_folder': ('api_test', 'what a vector is pooled by'),
}
