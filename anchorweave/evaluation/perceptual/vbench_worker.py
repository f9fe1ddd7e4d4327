"""Subprocess in VBench's own Python: runs VBench's evaluation on a folder of videos.

    python vbench_worker.py VIDEOS OUTPUT DEVICE AXIS...

Writes OUTPUT/axes_eval_results.json, like VBench: axis -> [mean, [{video_path, video_results}]].
Imports only torch and vbench, because that environment need not contain this project.
"""

import sys
from pathlib import Path

import torch
import vbench


def main(videos: str, output: str, device: str, *axes: str) -> None:
    """Evaluates each video separately, with the weights in VBENCH_CACHE_DIR."""
    prompts = Path(vbench.__file__).parent / "VBench_full_info.json"
    vbench.VBench(torch.device(device), str(prompts), output).evaluate(
        videos_path=videos,
        name="axes",
        dimension_list=list(axes),
        local=True,
        mode="custom_input",
        imaging_quality_preprocessing_mode="longer",
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
