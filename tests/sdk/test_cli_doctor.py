"""`boir doctor` as a command."""

from __future__ import annotations

import json

import pytest

from boir_sdk import doctor
from boir_sdk.cli.main import main
from boir_sdk.doctor import Finding

GOOD = Finding("python", "ok", "Python 3")
BAD = Finding("video", "bad", "no FFmpeg", "install one")
NOTE = Finding("processor", "note", "old", "nothing")


@pytest.mark.parametrize(
    ("findings", "code", "last"),
    [([GOOD], 0, "nothing is wrong"), ([GOOD, NOTE], 0, "nothing is wrong"), ([GOOD, BAD], 1, "1 of 2")],
)
def test_findings_and_exit_code(monkeypatch, capsys, findings, code, last):
    monkeypatch.setattr(doctor, "examine", lambda **_: iter(findings))
    assert main(["doctor"]) == code
    said = capsys.readouterr().out
    assert all(finding.says in said and finding.do in said for finding in findings)
    assert last in said.splitlines()[-1]
    assert main(["doctor", "--json"]) == code
    report = json.loads(capsys.readouterr().out)
    assert report["bad"] == code
    assert [found["about"] for found in report["findings"]] == [finding.about for finding in findings]


def test_options_reach_the_examination(monkeypatch):
    seen = {}
    monkeypatch.setattr(doctor, "examine", lambda **options: iter([seen.update(options) or GOOD]))
    assert main(["doctor", "--probe", "--model", "mine"]) == 0
    assert seen == {"probe": True, "model": "mine"}


@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), (["--nonsense"], 2)])
def test_usage(arguments, code, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["doctor", *arguments])
    assert ended.value.code == code
    said = capsys.readouterr()
    assert (said.err if code else said.out).strip()
