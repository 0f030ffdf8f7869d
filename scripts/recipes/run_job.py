#!/usr/bin/env python3
"""Runs the pods of an Indexed Job of Kubernetes as processes of this machine.

    python3 scripts/recipes/run_job.py scripts/recipes/job.yaml FOLDER

FOLDER stands for the volume that the container mounts. Each process gets the
container's environment and its index, as the Job's controller sets it. Needs PyYAML.
"""

import os
import subprocess
import sys

import yaml


def main(manifest: str, folder: str) -> int:
    with open(manifest) as file:
        job = yaml.safe_load(file)["spec"]
    (container,) = job["template"]["spec"]["containers"]
    (mount,) = container["volumeMounts"]

    def here(path: str) -> str:
        return path.replace(mount["mountPath"], os.path.abspath(folder))

    env = {e["name"]: here(e["value"]) for e in container["env"]}
    pods = [
        subprocess.Popen(
            [here(word) for word in container["command"]],
            cwd=here(container["workingDir"]),
            env=os.environ | env | {"JOB_COMPLETION_INDEX": str(index)},
        )
        for index in range(job["completions"])
    ]
    codes = [pod.wait() for pod in pods]
    print("exit codes:", *codes)
    return max(codes)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
