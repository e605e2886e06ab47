"""Will synthetic images make my classifier better, by how much, and at what cost?

The map, by floor; imports only go down:

* 0  `bits`, `errors`, `sections`, `study`, `recipes`, `params`, `images`, `runtime`, `store`,
     `progress`, `layers`: sentences, settings, arrays, determinism, files, parts of networks
* 1  `splits`, `datasets/`, `generators/`, `teachers/`, `transforms`, `classifiers/`, `filters`,
     `metrics`, `fidelity`, `memorization`, `stats`, `health`, `wording`: the parts; siblings do not
     know each other, but what is trained may be handed a transform
* 2  `trials`, `provenance`, `arms`, `tuning`, `engine`, `integrity`, `pairing`, `comparisons`,
     `ranking`, `tables`, `plots`, `gallery`, `page`, `headline`: the parts put together
* 3  `stages/`, `presets`, `check`, `__main__`: one module per DVC stage, and the command line
"""

from pipeline.bits import current_bits, set_bits

# Before anything here imports numpy or torch, which read these settings when they are loaded.
set_bits(current_bits())
