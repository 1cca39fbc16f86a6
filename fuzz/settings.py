"""Manifests and configurations: checked data, or a typed error."""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from boir_sdk import bundle, manifest
from boir_train import config
from fuzz import mutate
from fuzz.campaign import Campaign, Case


def sealed(content: Any) -> bytes:
    """A manifest of any content, with a digest that fits."""
    if isinstance(content, dict):
        content = {key: value for key, value in content.items() if key != "sha256"}
        content["sha256"] = hashlib.sha256(_written(content)).hexdigest()
    return _written(content)


def _written(content: Any) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=True) + "\n").encode()


def prepare(folder: Path) -> Case:
    """The embedded manifest and the configurations of the package."""
    good = (bundle.default_path() / bundle.MANIFEST_NAME).read_bytes()
    parsed, trees = json.loads(good), [config.as_dict(config.load(name)) for name in config.names()]
    sections = sorted(f"{section}.{key}" for section in trees[0] for key in trees[0][section])

    def manifest_bytes(rng: random.Random) -> None:
        bad = mutate.data(rng, good)
        if manifest.load(bad, "manifest.json") is not None:
            assert bad == good, "a changed manifest was accepted"

    def manifest_tree(rng: random.Random) -> None:
        try:
            bad = sealed(mutate.tree(rng, parsed))
        except (ValueError, RecursionError):  # what JSON can't say
            return
        loaded = manifest.load(bad, "manifest.json")
        described = bundle.Bundle(Path(), manifest.load(manifest.dump(loaded), "again")).manifest
        assert described == loaded, "it reads back differently"
        json.dumps(asdict(loaded))

    def config_text(rng: random.Random) -> None:
        path = folder / "config.yaml"
        path.write_bytes(mutate.data(rng, yaml.safe_dump(rng.choice(trees)).encode()))
        _checked(config.load(str(path)))

    def config_tree(rng: random.Random) -> None:
        _checked(config.parse(mutate.tree(rng, rng.choice(trees))))

    def override(rng: random.Random) -> None:
        value = mutate.odd(rng)
        text = value if isinstance(value, str) else json.dumps(value) if value != 10**400 else "1" + "0" * 400
        key = rng.choice((rng.choice(sections), rng.choice(sections), "x", ".", "train", "train.batch_size.x"))
        _checked(config.load("coco_w32", [f"{key}={text}"]))

    kinds = (
        manifest_bytes,
        manifest_tree,
        manifest_tree,
        manifest_tree,
        config_text,
        config_tree,
        config_tree,
        override,
    )
    return lambda rng: rng.choice(kinds)(rng)


def _checked(made: config.Config) -> None:
    assert config.parse(config.as_dict(made)) == made, "it reads back differently"


CAMPAIGN = Campaign("settings", 20000, prepare, ("boir_train.config",))
