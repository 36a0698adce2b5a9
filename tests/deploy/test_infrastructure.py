"""deploy/terraform and deploy/ci, without a cloud: they can be read, name only what is there, and hold no secret.

Terraform's own check needs its binary and the provider's schema, which no package carries.
"""

from __future__ import annotations

import re
from typing import Any

import hcl2
import pytest
import yaml

from ml.config import PROJECT

FOLDER = PROJECT / "deploy/terraform"
FILES = sorted(FOLDER.glob("*.tf"))
REFERENCE = re.compile(r"(?<![\w.\"/-])((?:data\.)?aws_[a-z0-9_]+\.[a-z0-9_]+|var\.[a-z_]+|local\.[a-z_]+)")


def _blocks(kind: str) -> list[Any]:
    return [block for file in FILES for block in hcl2.loads(file.read_text()).get(kind, [])]


def _named(kind: str) -> set[str]:
    """`TYPE.NAME` of each resource or data source."""
    return {
        f"{kind_of.strip(chr(34))}.{name.strip(chr(34))}"
        for block in _blocks(kind)
        for kind_of, named in block.items()
        for name in named
    }


def _text() -> str:
    """All files without comments and without what stands in a text but outside of `${…}`."""
    lines = (line.partition("# ")[0] for file in FILES for line in file.read_text().splitlines())
    return "\n".join(lines)


def test_every_file_can_be_read() -> None:
    assert {file.name for file in FILES} >= {"network.tf", "database.tf", "storage.tf", "cluster.tf", "roles.tf"}
    assert len(_named("resource")) > 20


def test_every_reference_leads_to_something() -> None:
    variables = {f"var.{name.strip(chr(34))}" for block in _blocks("variable") for name in block}
    local = {f"local.{name}" for block in _blocks("locals") for name in block}
    known = variables | local | _named("resource") | {f"data.{name}" for name in _named("data")}
    asked = set(REFERENCE.findall(_text()))
    assert asked >= {"aws_vpc.this", "var.region", "local.zones", "data.aws_caller_identity.here"}
    assert asked - known == set()
    assert variables - asked == set()


def test_what_is_stored_is_encrypted_and_nothing_is_public() -> None:
    resources = {name: told for block in _blocks("resource") for kind in block.values() for name, told in kind.items()}
    assert resources
    text = _text()
    assert "storage_encrypted           = true" in text
    assert "transit_encryption_enabled = true" in text
    for setting in ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets"):
        assert re.search(rf"{setting}\s+= true", text), setting
    opened = re.findall(r'cidr_blocks?\s*=\s*\[?"0\.0\.0\.0/0"', text)
    assert len(opened) == 2, "the two default routes, and no rule of a security group"


@pytest.mark.parametrize("word", ["password", "token", "secret"])
def test_no_secret_has_a_value(word: str) -> None:
    given = re.findall(rf'{word}\w*\s*=\s*"[^"$]+"', _text())
    assert given == []


def test_the_pipeline_pushes_what_it_tested_and_deploys_what_it_pushed() -> None:
    told = yaml.safe_load((PROJECT / "deploy/ci/github.yml").read_text())
    jobs = told["jobs"]
    assert jobs["images"]["needs"] == "test"
    assert jobs["deploy"]["needs"] == "images"
    assert "make test" in [step.get("run") for step in jobs["test"]["steps"]]
    dockerfile = (PROJECT / "deploy/images/Dockerfile").read_text()
    targets = set(re.findall(r"^FROM \S+ AS (\w[\w-]*)$", dockerfile, re.MULTILINE))
    assert set(jobs["images"]["strategy"]["matrix"]["target"]) <= targets
    scripts = "\n".join(step.get("run", "") for job in jobs.values() for step in job["steps"])
    assert "${{" not in scripts, "a value of the outside is passed by the environment, not pasted into a script"
    named = set(re.findall(r"deploy/[\w./-]+", scripts))
    assert named
    assert all((PROJECT / path).exists() for path in named)
