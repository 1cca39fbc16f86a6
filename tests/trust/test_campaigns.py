"""The campaigns of `python -m fuzz`, briefly; and that they would notice what they look for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from fuzz import campaign
from fuzz.__main__ import CAMPAIGNS
from fuzz.campaign import Campaign

from boir_sdk.errors import InputError
from tests.conftest import ROOT

QUICK = [name for name in CAMPAIGNS if name != "graphs"]


@pytest.mark.parametrize(
    "arguments", [[*QUICK, "--share", "0.02"], ["graphs", "--count", "2"]], ids=["quick", "graphs"]
)
def test_a_few_cases_of_each_campaign(arguments, tmp_path):
    """In a process of its own: children are forked, and here OpenVINO and torch have started threads."""
    out = tmp_path / "fuzz.json"
    names = [name for name in arguments if name in CAMPAIGNS]
    only = [word for name in names for word in ("--only", name)]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "fuzz",
            *only,
            *arguments[len(names) :],
            "--seed",
            "1",
            "--limit",
            "300",
            "--json",
            str(out),
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in (".", "sdk", "train"))},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=580,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    tallies = json.loads(out.read_text())
    assert [tally["name"] for tally in tallies] == names
    for tally in tallies:
        assert f"| {tally['name']} | {tally['cases']} |" in done.stdout
        assert tally["well"] and tally["cases"] > 0
        assert tally["accepted"] + sum(tally["refused"].values()) + tally["crashes"] == tally["cases"]


def faulty(folder):
    """Ends in another way from case to case, told by the random numbers alone."""

    def case(rng):
        how = rng.randrange(6)
        if how == 0:
            raise InputError("no")
        if how == 1:
            raise KeyError("not ours")
        if how == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        if how == 3:
            time.sleep(3600)
        if how == 4:
            raise AssertionError("accepted what is wrong")

    return case


def test_crashes_hangs_and_other_errors_are_counted():
    def endings(seed):
        return [campaign.random.Random(f"faulty {seed} {number}").randrange(6) for number in range(9)]

    seed = next(seed for seed in range(1000) if set(endings(seed)) == set(range(6)) and endings(seed).count(3) == 1)
    cases = endings(seed)
    tally = campaign.run(Campaign("faulty", 9, faulty), 9, seed=seed, limit_s=8.0)
    counted = (sum(tally.refused.values()), tally.untyped, tally.crashes, tally.hangs, tally.wrong, tally.accepted)
    assert counted == tuple(cases.count(how) for how in range(6))
    assert not tally.well and tally.refused == {"InputError": cases.count(0)}
    assert any("KeyError" in failure and "test_campaigns.py" in failure for failure in tally.failures)


def test_a_case_can_be_made_again():
    def recorded(number):
        seen = []
        campaign.outcome(lambda rng: seen.append(rng.random()), campaign.random.Random(f"x 0 {number}"))
        return seen

    assert recorded(5) == recorded(5) != recorded(6)
