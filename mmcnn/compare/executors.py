"""Where the trainings of a comparison run: this machine, Ray or Slurm, one task for each."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmcnn.compare.options import LOCAL, RAY, SLURM, CompareOptions
from mmcnn.compare.run import Run
from mmcnn.compare.trainings import outcome, train_all
from mmcnn.errors import UsageError
from mmcnn.runs.run_lock import stop_live

#: How often a training is restarted if its worker or job is lost; it resumes from its last checkpoint.
RETRIES = 10
#: Folder of submitit's own files, below that of the comparison.
JOBS = 'slurm_jobs'
#: Seconds between two polls of jobs.
_PAUSE = 2.0
#: Environment variable of submitit; NOCONFIG leaves logging unchanged.
_LOG_LEVEL = 'SUBMITIT_LOG_LEVEL'


def run_trainings(runs: Sequence[Run], options: CompareOptions, work_dir: Path, until_epoch: int | None = None) -> None:
    """Train what is not finished, with a line for each; failures are recorded with the run.

    Args:
        runs: in the order of their start.
        options: options of the comparison.
        work_dir: its folder, which all machines can access.
        until_epoch: pause each after this epoch; None: train to the end.

    Raises:
        UsageError: the package of the executor is not installed, or rejects the options.
    """
    if options.executor == LOCAL:
        train_all(runs, options.jobs, until_epoch)
        return
    left = [run for run in runs if not run.has_reached(until_epoch)]
    print(f'{len(runs) - len(left)} of {len(runs)} trainings are already finished', flush=True)
    own = dict(options.executor_options or {})
    if left:
        (_on_ray if options.executor == RAY else _on_slurm)(left, own, work_dir, until_epoch)


class Task:
    """A training in another process or on another machine; submitit resubmits it after a preemption.

    Args:
        run: the training.
        until_epoch: see :meth:`~mmcnn.compare.run.Run.train`.
    """

    def __init__(self, run: Run, until_epoch: int | None) -> None:
        self.run = run
        self.until_epoch = until_epoch

    def __call__(self) -> str | None:
        """Train, or resume from the last checkpoint; return why there is no result, or None."""
        # Remnants of a lost worker would keep the folder locked.
        stop_live(self.run.folder)
        return self.run.train(self.until_epoch)

    def checkpoint(self) -> Any:
        """Return the same task, for submitit to replace a job that was preempted or ran out of time."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _on_ray(runs: Sequence[Run], options: Mapping[str, Any], work_dir: Path, until_epoch: int | None) -> None:
    """Run as tasks of Ray, which queues them for their resources and retries those whose worker dies."""
    ray = _installed('ray')
    address = options.pop('address', None)
    resources = dict(num_cpus=1, max_retries=RETRIES) | options
    started = not ray.is_initialized()
    if started:
        ray.init(address=address, log_to_driver=False, include_dashboard=False)
    try:
        if 'num_gpus' not in resources:
            resources['num_gpus'] = 1 if ray.cluster_resources().get('GPU') else 0
        try:
            remote = ray.remote(**resources)(_train_on_ray)
        except (TypeError, ValueError) as error:
            raise UsageError(f'executor_options={dict(options)}: {error}') from error
        left = {remote.remote(Task(run, until_epoch)): run for run in runs}
        while left:
            (done, *_), _ = ray.wait([*left], num_returns=1)
            run = left.pop(done)
            try:
                failure = ray.get(done)
            except ray.exceptions.RayError as error:
                failure = ' '.join(str(error).split())
                run.note_failure(failure)
            print(f'{run.title}: {outcome(run, failure)}', flush=True)
    finally:
        if started:
            ray.shutdown()


def _train_on_ray(task: Task) -> str | None:
    return task()


def _on_slurm(runs: Sequence[Run], options: Mapping[str, Any], work_dir: Path, until_epoch: int | None) -> None:
    """Run as jobs of Slurm, by submitit; preempted ones are resubmitted."""
    submitit = _installed_submitit()
    cluster = options.pop('cluster', 'slurm')
    try:
        executor = submitit.AutoExecutor(folder=work_dir / JOBS, cluster=cluster, slurm_max_num_timeout=RETRIES)
        executor.update_parameters(**dict(name='mmcnn_compare', timeout_min=24 * 60) | options)
    except (RuntimeError, ValueError, NameError, TypeError) as error:
        raise UsageError(f'executor_options={dict(options)}: {error}') from error
    left = {}
    for run in runs:
        job = executor.submit(Task(run, until_epoch))
        left[job] = run
        print(f'{run.title}: job {job.job_id}', flush=True)
    while left:
        for job in [job for job in left if job.done()]:
            run, error = left.pop(job), job.exception()
            failure = job.result() if error is None else ' '.join(str(error).split())
            if error is not None:
                run.note_failure(failure)
            print(f'{run.title}: {outcome(run, failure)}', flush=True)
        time.sleep(_PAUSE)


def _installed_submitit() -> Any:
    # On import it reconfigures logging, which closes all handlers of the process: log files, and under absl the
    # current stream of stderr.
    before = os.environ.get(_LOG_LEVEL)
    os.environ[_LOG_LEVEL] = 'NOCONFIG'
    try:
        return _installed('submitit')
    finally:
        if before is None:
            del os.environ[_LOG_LEVEL]
        else:
            os.environ[_LOG_LEVEL] = before


def _installed(package: str) -> Any:
    try:
        return __import__(package)
    except ImportError as error:
        name = RAY if package == RAY else SLURM
        raise UsageError(f"executor={name} needs {package}: pip install 'mmcnn[compare]'") from error
