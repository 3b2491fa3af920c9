"""The submit language: what is accepted means what HTCondor means by it, the rest is refused by name and line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cloudsched.batch import submit
from cloudsched.config.options import JobDefaults
from cloudsched.errors import SubmitError
from cloudsched.model.adapters import QueuedJob

EXAMPLES = Path(__file__).parent.parent / "contrib" / "examples"


def parse(text: str, **defaults: Any) -> list[QueuedJob]:
    return submit.parse(text, owner="alice", initialdir="/home/alice", defaults=JobDefaults(**defaults), now=1000)


def one(*lines: str, **defaults: Any) -> QueuedJob:
    (job,) = parse("\n".join(["executable = run.sh", *lines, "queue"]), **defaults)
    return job


def refusal(*lines: str) -> SubmitError:
    with pytest.raises(SubmitError) as caught:
        parse("\n".join(lines))
    return caught.value


def test_v1s_kind_of_sample_is_accepted() -> None:
    (job,) = parse(
        """
        # Regular HTCondor commands, as in v1's manual
        Universe   = vanilla
        Executable = analyse.sh
        Arguments  = alpha beta gamma
        Log        = analyse.log
        Output     = analyse.out
        Error      = analyse.error
        should_transfer_files = YES
        when_to_transfer_output = ON_EXIT
        #
        Requirements = VMType =?= "vm.for.analysis"
        +VMLoc         = "http://images.example.org/analysis.img.gz"
        +VMAMI         = "ami-0001"
        +VMCPUCores    = "1"
        +VMNetwork     = "private"
        +VMMem         = "768"
        +VMStorage     = "20"
        Queue
        """
    )
    shape = job.job.shape
    assert (shape.user, shape.req_vmtype, shape.req_network) == ("alice", "vm.for.analysis", "private")
    assert (shape.req_memory, shape.req_cpucores, shape.req_storage) == (768, 1, 20)
    assert shape.req_ami == {"default": "ami-0001"}
    assert job.spec["executable"] == "/home/alice/analyse.sh"
    assert job.spec["arguments"] == ["alpha", "beta", "gamma"]
    assert job.spec["output"] == "/home/alice/analyse.out"
    assert job.spec["attributes"]["VMLoc"] == "http://images.example.org/analysis.img.gz"
    assert (job.job.job_status, job.job.submitted_at, job.job.spool_dir) == (1, 1000, "/home/alice")


def test_example_of_the_readme_is_three_jobs() -> None:
    jobs = parse((EXAMPLES / "hello.sub").read_text())
    assert [job.job.proc_id for job in jobs] == [0, 1, 2]
    assert jobs[2].spec["output"] == "/home/alice/hello.$(Cluster).2.out"
    assert jobs[1].spec["arguments"][1].startswith("echo Hello from job 1 on $CLOUDSCHED_VM;")


def test_defaults_fill_what_the_job_does_not_say() -> None:
    shape = one(
        default_vmtype="site", default_vmmem=1024, default_vmcpucores=2, default_vmami={"default": "x"}
    ).job.shape
    assert (shape.req_vmtype, shape.req_memory, shape.req_cpucores, shape.req_ami) == (
        "site",
        1024,
        2,
        {"default": "x"},
    )
    assert one().job.shape.req_ami == {"default": ""}
    assert one().spec["request_memory_mb"] == 0


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("one two  three", ["one", "two", "three"]),
        (r"say \"hi\" 'there'", ["say", '"hi"', "'there'"]),
        ("\"one 'two words' three\"", ["one", "two words", "three"]),
        ('"quote"" it\'\'s"', ['quote"', "its"]),
        ("\"'it''s' x'y z'w\"", ["it's", "xy zw"]),
        ("\"a '' b\"", ["a", "", "b"]),
        ('""', []),
        ("", []),
    ],
)
def test_arguments_in_both_notations(written: str, expected: list[str]) -> None:
    assert one(f"arguments = {written}").spec["arguments"] == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("A=1;B=two words;C=", {"A": "1", "B": "two words", "C": ""}),
        ("\"A=1 B='two words' C='it''s'\"", {"A": "1", "B": "two words", "C": "it's"}),
        ('"A=x=y"', {"A": "x=y"}),
    ],
)
def test_environment_in_both_notations(written: str, expected: dict[str, str]) -> None:
    assert one(f"environment = {written}").spec["environment"] == expected


@pytest.mark.parametrize(
    ("written", "expected"), [("true", True), ("False", False), ("HOME, LC_*, !LC_ALL", ["HOME", "LC_*", "!LC_ALL"])]
)
def test_getenv_is_a_boolean_or_names(written: str, expected: Any) -> None:
    assert one(f"getenv = {written}").spec["getenv"] == expected


@pytest.mark.parametrize(
    ("written", "megabytes"),
    [("512", 512), ("512M", 512), ("1 GB", 1024), ("1.5G", 1536), ("1T", 1024 * 1024), ("1500K", 2), ("2mb", 2)],
)
def test_request_memory_is_in_megabytes(written: str, megabytes: int) -> None:
    job = one(f"request_memory = {written}")
    assert (job.spec["request_memory_mb"], job.job.shape.req_memory) == (megabytes, megabytes)


def test_request_disk_is_in_kilobytes_and_storage_in_gigabytes() -> None:
    assert one("request_disk = 2000001").job.shape.req_storage == 3
    assert one("request_disk = 1G").spec["request_disk_kb"] == 1024 * 1024
    assert one("request_disk = 5").job.shape.req_storage == 1


@pytest.mark.parametrize(
    ("requirements", "expected"),
    [
        ('VMType=?="x"', ("x", 512, 1, 0)),
        ('TARGET.VMType == "x y"', ("x y", 512, 1, 0)),
        ('"z" =?= VMType && 2048 <= Memory', ("z", 2048, 1, 0)),
        ('(VMType is "a") && ((Cpus > 3) && Disk >= 3000000)', ("a", 512, 4, 3)),
        ("Memory >= 9", ("default", 9, 1, 0)),
        ("Memory >= 100 && Memory > 200.5", ("default", 201, 1, 0)),
    ],
)
def test_requirements_say_the_least_vm(requirements: str, expected: Sequence[Any]) -> None:
    shape = one(f"requirements = {requirements}").job.shape
    assert (shape.req_vmtype, shape.req_memory, shape.req_cpucores, shape.req_storage) == expected


def test_requirements_win_over_the_vmtype_attribute() -> None:
    assert one('+VMType = "old"', 'requirements = VMType =?= "new"').job.shape.req_vmtype == "new"
    assert one('MY.VMType = "own"').job.shape.req_vmtype == "own"


@pytest.mark.parametrize(
    "requirements",
    [
        'Arch == "X86_64"',
        'VMType =?= "a" || VMType =?= "b"',
        'VMType =?= "a" && VMType =?= "b"',
        '!(VMType =?= "a")',
        "Memory <= 5",
        "Memory >= 2 * 1024",
        'VMType =!= "a"',
        "(Memory >= 5",
        "Memory >=",
        'VMType =?= ""',
        "TRUE",
    ],
)
def test_other_requirements_are_refused_with_what_is_accepted(requirements: str) -> None:
    error = refusal("executable = a", f"requirements = {requirements}", "queue")
    assert error.line == 2
    assert error.problem.startswith("requirements is ") and "accepted is VMType =?=" in error.problem


def test_attributes_set_the_shape() -> None:
    shape = one(
        '+VMAMI = "ami-1, Cloud-A:ami-2"',
        "+VMInstanceType = m1.large",
        "+VMKeepAlive = 10",
        "+VMHighPriority = 1",
        "+VMMaximumPrice = 0.25",
        "+VMTypeLimit = 7",
        "+VMJobPerCore = True",
        "+TargetClouds = \"Hermes, 'mouse'\"",
        '+VMSecurityGroup = "a,b"',
        '+VMKeyName = "key"',
        "+vmcpucores = 4",
    ).job.shape
    assert shape.req_ami == {"default": "ami-1", "cloud-a": "ami-2"}
    assert shape.instance_type == {"default": "m1.large"}
    assert (shape.keep_alive, shape.high_priority, shape.maximum_price, shape.usertype_limit) == (600, 1, 0.25, 7)
    assert (shape.job_per_core, shape.req_cpucores, shape.key_name) == (True, 4, "key")
    assert (shape.target_clouds, shape.req_security_group) == (("Hermes", "mouse"), ("a", "b"))


def test_image_with_several_colons_is_one_image() -> None:
    assert one('+VMAMI = "http://host:80/a"').job.shape.req_ami == {"default": "http://host:80/a"}


def test_proxy_attributes_reach_the_job() -> None:
    job = one('+x509userproxy = "/tmp/proxy"', '+CSMyProxyServer = "my.example.org"').job
    assert (job.x509userproxy, job.myproxy_server, job.proxy_renew_time) == ("/tmp/proxy", "my.example.org", "12")


def test_own_attributes_are_kept() -> None:
    assert one('+Project = "a \\"b\\""', "MY.Count = 3").spec["attributes"] == {"Project": 'a "b"', "Count": "3"}


@pytest.mark.parametrize(
    "line",
    ["+VMMem = lots", "+VMMem = 0", "+VMMem = 1.5", '+VMMem = "5', "+VMMem =", "+VMJobPerCore = maybe",
     "+VMMaximumPrice = nan", "+VMTypeLimit = -2", '+TargetClouds = "a,,b"'],
)  # fmt: skip
def test_bad_attribute_values_are_refused_by_name_and_line(line: str) -> None:
    error = refusal("executable = a", "", line, "queue")
    assert error.line == 3
    assert error.problem.startswith(line.split()[0] + " is ") and "; accepted is " in error.problem


@pytest.mark.parametrize(
    "line",
    ["universe = docker", "request_cpus = 0", "request_memory = -1", "request_memory = many", "priority = high",
     "should_transfer_files = maybe", "notification = carrier pigeon", "getenv = a b", 'arguments = "a',
     "arguments = a\"b", "arguments = \"a 'b\"", "environment = A", "allowed_execute_duration = 0"],
)  # fmt: skip
def test_bad_command_values_are_refused_by_name_and_line(line: str) -> None:
    error = refusal("# a comment", line, "executable = a", "queue")
    assert error.line == 2
    assert error.problem.startswith(line.split()[0] + " is ") and "; accepted is " in error.problem


@pytest.mark.parametrize(
    "line",
    ["transfer_input_files = a", "periodic_hold = true", "request_gpus = 1", "reqest_memory = 5", "rank = Memory"],
)
def test_other_commands_are_refused_by_name_and_line(line: str) -> None:
    error = refusal(
        "executable = a", f"arguments = $({line.split()[0]}:x)" if "reqest" not in line else "", line, "queue"
    )
    assert error.line == 3
    assert error.problem.startswith(f"{line.split()[0]} is not available; accepted are universe, executable, ")


@pytest.mark.parametrize(
    "line",
    ["queue 0", "queue -1", "queue x in (a b)", "queue name from file", "queue 1000000", "queue 2 matching *.dat"],
)
def test_other_queue_statements_are_refused(line: str) -> None:
    error = refusal("executable = a", line)
    assert (error.line, error.problem.startswith("queue ")) == (2, True)


def test_missing_queue_and_executable_are_refused() -> None:
    assert "no queue statement" in refusal("executable = a").problem
    missing = refusal("output = a", "queue")
    assert (missing.line, "no executable" in missing.problem) == (2, True)
    assert "no queue statement" in refusal("").problem


def test_a_line_that_is_no_statement_is_refused() -> None:
    assert refusal("executable = a", "hello there", "queue").line == 2
    assert refusal("executable = a", "x\0", "queue").line == 2
    assert refusal("executable = a", "output = \ud800", "queue").line == 2


def test_a_job_larger_than_its_vm_is_refused() -> None:
    error = refusal("executable = a", "request_memory = 4G", "+VMMem = 512", "queue")
    assert str(error) == "line 3: the job asks for 4096 MB (VMMem) and for a VM that has 512."


def test_macros_are_expanded_when_queued() -> None:
    first, second, third = parse(
        """
        executable = $(program:run.sh)
        output = $(name).$(Process)$(ProcId).out
        arguments = $(name) $(Step) $$5 $(missing:none)
        name = first
        queue
        name = $(name)-next
        queue 2
        """
    )
    assert first.spec["executable"] == "/home/alice/run.sh"
    assert first.spec["output"] == "/home/alice/first.00.out"
    assert second.spec["output"] == "/home/alice/first-next.11.out"
    assert third.spec["arguments"] == ["first-next", "1", "$$5", "none"]
    assert [job.job.proc_id for job in (first, second, third)] == [0, 1, 2]


def test_cluster_is_left_to_the_queue() -> None:
    spec = one("output = $(cluster).$(ClusterId).out", "arguments = $(DOLLAR)HOME").spec
    assert spec["output"] == "/home/alice/$(Cluster).$(Cluster).out"
    assert spec["arguments"] == ["$HOME"]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("arguments = $(nothing)", "which nothing defines"),
        ("arguments = $ENV(HOME)", "$ENV(...)"),
        ("arguments = $$(Machine)", "$$(...)"),
        ("arguments = $(broken", "malformed macro"),
        ('+VMType = "$(Cluster)"', "not known yet"),
    ],
)
def test_other_macros_are_refused(line: str, what: str) -> None:
    error = refusal("executable = a", line, "queue")
    assert (error.line, what in error.problem) == (2, True)


def test_circular_and_exploding_macros_are_refused() -> None:
    circular = refusal("executable = a", "x = $(y)", "y = $(x)", "output = $(x)", "queue")
    assert "leads back to itself" in circular.problem
    bomb = [f"m{level} = {f'$(m{level - 1})' * 40}" for level in range(1, 9)]
    assert "more than" in refusal("executable = a", "m0 = xxxx", *bomb, "output = $(m8)", "queue").problem


def test_continuation_and_comments() -> None:
    job = one("arguments = one \\", "  two \\", "# not this", "  th\\", "ree", "+Note = a#b")
    assert job.spec["arguments"] == ["one", "two", "three"]
    assert job.spec["attributes"] == {"Note": "a#b"}
    assert refusal("executable \\", "= a", "bad \\", "line", "queue").line == 3


def test_paths_are_joined_to_their_directories() -> None:
    spec = one("initialdir = run/1", "input = in", "error = /abs/err").spec
    assert (spec["initialdir"], spec["input"], spec["error"]) == (
        "/home/alice/run/1",
        "/home/alice/run/1/in",
        "/abs/err",
    )
    assert (spec["executable"], spec["output"], spec["log"]) == ("/home/alice/run.sh", None, None)


def test_wall_time_is_the_shorter_limit() -> None:
    spec = one("allowed_execute_duration = 60", "allowed_job_duration = 30").spec
    assert spec["wall_seconds"] == 30
    assert spec["attributes"] == {"AllowedExecuteDuration": "60", "AllowedJobDuration": "30"}
    assert one().spec["wall_seconds"] is None


def test_request_cpus_of_a_job_per_core_is_one() -> None:
    assert one("+VMCPUCores = 4", "+VMJobPerCore = true").spec["request_cpus"] == 1
    assert one("+VMCPUCores = 4").spec["request_cpus"] == 4
    assert one("request_cpus = 2").job.shape.req_cpucores == 2


def test_jobs_of_one_shape_have_one_key() -> None:
    jobs = parse("executable = a\noutput = $(Process)\nqueue 50\n+VMMem = 600\nqueue 2")
    assert len({job.job.shape.key for job in jobs}) == 2


def test_many_equal_jobs_are_cheap() -> None:
    assert len(parse("executable = a\nqueue 50000")) == 50_000


def test_relative_directory_and_missing_owner_are_refused() -> None:
    for owner, directory in (("", "/"), ("alice", "here")):
        with pytest.raises(SubmitError):
            submit.parse("executable = a\nqueue", owner=owner, initialdir=directory, defaults=JobDefaults(), now=0)


def test_any_text_is_either_jobs_or_a_refusal() -> None:
    hypothesis = pytest.importorskip("hypothesis")
    pieces = hypothesis.strategies.sampled_from(
        ["executable", "=", "queue", "$(", ")", "a", " ", "\n", '"', "'", "\\", "+VMMem", "1", "requirements", "&&",
         "Memory", ">=", "arguments", ":", "$(a)", "environment", "é", "\r", "#"]
    )  # fmt: skip

    @hypothesis.settings(max_examples=300, deadline=None)
    @hypothesis.given(hypothesis.strategies.lists(pieces, max_size=30).map("".join))
    def never_breaks(text: str) -> None:
        try:
            parse(text)
        except SubmitError as ex:
            assert ex.problem

    never_breaks()
