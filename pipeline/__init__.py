"""Will synthetic images make my classifier better, by how much, and at what cost?

The packages, by layer. Imports only go down; packages of one layer do not import each other:

* 0  `runtime/`: errors, seeds, determinism, files, progress; knows nothing of images
* 1  `config/`: params.yaml as frozen objects, and what is compared with what
* 2  `data/`, `nn/`: images, splits and datasets; what every network shares
* 3  `generators/`, `teachers/`, `classifiers/`, `trials/`, `evaluation/`: models, trials and how
     they run, metrics and statistics
* 4  `training_sets/`, `report/`: arms, filters and transforms; tables, verdicts, figures, the page
* 5  `stages/`, `commands/`, `__main__`: one module per DVC stage, one per command
"""

from pipeline.runtime.bits import current_bits, set_bits

# Before anything here imports numpy or torch, which read these settings when they are loaded.
set_bits(current_bits())
