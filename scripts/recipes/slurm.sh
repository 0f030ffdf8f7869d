#!/bin/sh
# Captions the pictures of a folder, a part for each task of the array:
#
#	sbatch scripts/recipes/slurm.sh photos captions
#
#SBATCH --job-name=captions
#SBATCH --array=0-3
#SBATCH --cpus-per-task=1
#SBATCH --output=%x-%a.log
exec paligemma caption "$1" -q -o "$2" --shard auto -t "$SLURM_CPUS_PER_TASK"
