"""The search on functions whose front is known: it finds the front, ends, resumes, and several processes share it."""

import errno
import itertools
import json
import os
import resource
import subprocess
import sys

import pytest

from hf_dynbert.budgets.search.optuna_search import METHODS, search_length_configs
from hf_dynbert.budgets.search.pareto import pareto_front
from hf_dynbert.budgets.search.space import LengthSpace


TWO_DROPS = LengthSpace(6, layers=[0, 3])
SMALL = LengthSpace(3, smallest=0.88)  # 13 shares of each layer, from 1.0 to 0.88
CALLS = """
import json, sys, time
from hf_dynbert.budgets.search.optuna_search import search_length_configs
from hf_dynbert.budgets.search.space import LengthSpace
def evaluate(length_config):
    print(json.dumps(length_config), flush=True)
    time.sleep({sleep})
    return sum(length_config) ** 0.5, sum(length_config) + length_config[-1] * length_config[0]
print("ready", flush=True)
input()
space = LengthSpace(3, smallest=0.88)
search_length_configs(evaluate, space, {evaluations}, {method!r}, storage=sys.argv[1], progress=False)
"""


def synthetic(length_config):
    """Late layers cost less than they score; the middle layer is worth little."""
    first, middle, last = (100 * share - 86 for share in length_config)  # 14 to 2
    return (2 - 2.7 ** (-first / 5)) * (2 - 2.7 ** (-last / 3)) + 0.05 * middle**0.5, first**1.5 + middle + 0.7 * last


def two_drops(length_config):
    """The first drop costs more score than the second for the same saving."""
    first, last = length_config[0], length_config[-1]
    return 80 - 12 * (1 - first) ** 2 - 5 * (1 - last) ** 2, (1 + 3 * first + 3 * last) / 7


def hypervolume(points, worst):
    """The area between the front of (score, cost) pairs and the worst score and cost."""
    inside = [(cost, score) for score, cost in points if cost < worst[1] and score > worst[0]]
    front = [inside[index] for index in pareto_front(inside)]
    ends = [cost for cost, _ in front[1:]] + [worst[1]]
    return sum((end - cost) * (score - worst[0]) for (cost, score), end in zip(front, ends, strict=True))


def all_small_configs():
    shares = itertools.product([count / 100 for count in range(100, 87, -1)], repeat=3)
    return [list(entries) for entries in shares if list(entries) == sorted(entries, reverse=True)]


@pytest.mark.parametrize("method", METHODS)
def test_search_ends_and_returns_the_front_of_its_measurements(method):
    calls = []
    result = search_length_configs(
        lambda config: calls.append(config) or synthetic(config), SMALL, 40, method, seed=1, progress=False
    )
    assert 20 <= len(result.measured) <= 40 and len(calls) <= 40
    assert len({tuple(config) for config in calls}) == len(calls)  # nothing is measured twice
    costs, scores = [one.cost for one in result.front], [one.score for one in result.front]
    assert costs == sorted(set(costs)) and scores == sorted(set(scores))
    points = [(one.cost, one.score) for one in result.measured]
    assert [(one.cost, one.score) for one in result.front] == [points[index] for index in pareto_front(points)]
    for one in result.measured:
        assert one.length_config == sorted(one.length_config, reverse=True)
        assert (one.score, one.cost) == synthetic(one.length_config)


@pytest.mark.parametrize("method", METHODS)
def test_same_seed_same_front(method):
    first, second = (search_length_configs(synthetic, SMALL, 30, method, seed=3, progress=False) for _ in range(2))
    assert first == second
    if method != "grid":  # which draws nothing
        assert search_length_configs(synthetic, SMALL, 30, method, seed=4, progress=False).measured != first.measured


@pytest.mark.parametrize("method", METHODS)
def test_each_method_finds_nearly_the_true_front_over_two_drops(method):
    every = [TWO_DROPS.decode([a / 60, b / 60]) for a in range(61) for b in range(61)]
    best = hypervolume([two_drops(config) for config in every], (75.0, 1.0))
    result = search_length_configs(two_drops, TWO_DROPS, 144, method, min_score=75.0, progress=False)
    assert hypervolume([(one.score, one.cost) for one in result.front], (75.0, 1.0)) >= 0.93 * best


def test_search_finds_most_of_the_front_of_three_drops():
    best = hypervolume([synthetic(config) for config in all_small_configs()], (1.0, 85.0))
    for method in ("tpe", "nsga2"):
        result = search_length_configs(synthetic, SMALL, 80, method, progress=False)
        assert hypervolume([(one.score, one.cost) for one in result.front], (1.0, 85.0)) >= 0.9 * best


def test_default_is_a_grid_of_equal_steps_for_two_drops_and_tpe_for_more():
    calls = []
    result = search_length_configs(lambda config: calls.append(config) or two_drops(config), TWO_DROPS, progress=False)
    assert calls[0] == [1.0] * 6 and len({config[0] for config in calls}) == 12
    # near the smallest length a few of the 12 x 12 points are equal after rounding
    assert 130 <= len(calls) == len(result.measured) <= 144
    shallow, deep = LengthSpace(6, layers=[0, 3]), LengthSpace(6)
    for space, method in ((shallow, "grid"), (deep, "tpe")):
        chosen = search_length_configs(lambda config: (sum(config), sum(config)), space, 10, progress=False)
        named = search_length_configs(lambda config: (sum(config), sum(config)), space, 10, method, progress=False)
        assert chosen == named


@pytest.mark.parametrize("method", METHODS)
def test_scores_below_the_minimum_are_outside_the_front(method):
    result = search_length_configs(two_drops, TWO_DROPS, 60, method, min_score=78.0, progress=False)
    assert min(one.score for one in result.front) >= 78.0 > min(one.score for one in result.measured)


@pytest.mark.parametrize("method", ["tpe", "nsga2"])
def test_methods_avoid_scores_below_the_minimum(method):
    shares = []
    for min_score in (-float("inf"), 78.0):
        result = search_length_configs(two_drops, TWO_DROPS, 80, method, min_score=min_score, progress=False)
        shares.append(sum(one.score >= 78.0 for one in result.measured) / 80)
    assert shares[1] > shares[0]


@pytest.mark.parametrize("method", METHODS)
def test_small_spaces_end(method):
    """Fewer configurations than evaluations, and a space of one layer."""
    for space in (LengthSpace(2, smallest=0.98), LengthSpace(3, layers=[1], smallest=0.93)):
        result = search_length_configs(lambda config: (sum(config), sum(config)), space, 40, method, progress=False)
        assert len(result.measured) <= 40 and len({tuple(one.length_config) for one in result.measured}) <= 8


def test_spaces():
    space = LengthSpace(4, layers=[1, 3])
    for config in ([1.0, 0.5, 0.5, 0.25], [1.0, 1.0, 1.0, 0.08], [1.0, 0.3, 0.3, 0.3], [1.0, 0.08, 0.08, 0.08]):
        assert space.decode(space.encode(config)) == config
    assert space.decode([0.0, 1.0]) == [1.0, 0.08, 0.08, 0.08] and space.decode([1.0, 1.0]) == [1.0] * 4
    with pytest.raises(ValueError, match="layers is .* valid are some of 0 to 3"):
        LengthSpace(4, layers=[4])
    with pytest.raises(ValueError, match="smallest is 1.5; valid are numbers above 0 and below 1"):
        LengthSpace(4, smallest=1.5)
    with pytest.raises(ValueError, match="at least 64 points, num_evaluations is 60"):
        LengthSpace(6).grid(60)


@pytest.mark.parametrize("method", METHODS)
def test_given_configurations_are_evaluated_first(method):
    start = [[0.95, 0.93, 0.91], [1.0, 1.0, 1.0]]
    result = search_length_configs(synthetic, SMALL, 30, method, start=start, progress=False)
    assert [one.length_config for one in result.measured[:2]] == start


@pytest.mark.parametrize("method", METHODS)
def test_an_interrupted_search_repeats_no_finished_evaluation(method, tmp_path):
    calls = []

    def evaluate(config):
        calls.append(config)
        if len(calls) == 13:
            raise KeyboardInterrupt
        return synthetic(config)

    options = {"seed": 5, "start": [[0.95, 0.93, 0.91]], "storage": tmp_path / "search", "progress": False}
    with pytest.raises(KeyboardInterrupt):
        search_length_configs(evaluate, SMALL, 27, method, **options)
    before = [tuple(config) for config in calls[:12]]
    result = search_length_configs(evaluate, SMALL, 27, method, **options)
    after = [tuple(config) for config in calls[13:]]
    assert not set(before) & set(after) and len(result.measured) <= 27
    if method == "grid":
        assert calls[12] in calls[13:]
    assert search_length_configs(evaluate, SMALL, 27, method, **options) == result and len(calls) == 13 + len(after)


def start_process(tmp_path, method, evaluations, sleep):
    script = CALLS.format(method=method, evaluations=evaluations, sleep=sleep)
    command = [sys.executable, "-c", script, str(tmp_path / "search")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def let_go(*processes):
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()


def test_a_killed_process_loses_one_evaluation_at_most(tmp_path):
    method = "grid"
    killed = start_process(tmp_path, method, 25, 0.05)
    let_go(killed)
    before = [json.loads(killed.stdout.readline()) for _ in range(8)]
    killed.kill()
    killed.wait()
    left = start_process(tmp_path, method, 25, 0)
    out, error = left.communicate("\n")
    assert left.returncode == 0, error
    after = [json.loads(line) for line in out.splitlines()]
    assert not [config for config in after if config in before[:7]]  # the eighth was not finished
    assert before[7] in after


def test_two_processes_work_on_one_search(tmp_path):
    method = "tpe"
    both = [start_process(tmp_path, method, 30, 0.05) for _ in range(2)]
    let_go(*both)
    calls = []
    for process in both:
        out, error = process.communicate()
        assert process.returncode == 0, error
        calls.append([json.loads(line) for line in out.splitlines()])
    assert min(map(len, calls)) >= 5 and sum(map(len, calls)) <= 31  # the last evaluation may run in both
    result = search_length_configs(synthetic, SMALL, 30, method, storage=tmp_path / "search", progress=False)
    assert {tuple(one.length_config) for one in result.measured} >= {tuple(config) for config in sum(calls, [])}


@pytest.mark.parametrize("torn", [b'{"op_code":6,"worker', b"{", b"\0\0\0\0", b'{"op_code": 5, "trial_id": 3'])
def test_an_unfinished_last_line_of_the_journal_is_cut(tmp_path, torn):
    path, calls = tmp_path / "search", []

    def evaluate(config):
        calls.append(config)
        return synthetic(config)

    search_length_configs(evaluate, SMALL, 8, "grid", storage=path, progress=False)
    with path.open("ab") as file:
        file.write(torn)
    again = search_length_configs(evaluate, SMALL, 8, "grid", storage=path, progress=False)
    assert len(again.measured) == len(calls) == 8
    longer = search_length_configs(evaluate, SMALL, 8, "grid", storage=path, progress=False)
    assert longer == again and path.read_bytes().endswith(b"\n")


def test_a_search_continues_from_any_record(tmp_path):
    path, options = tmp_path / "search", {"storage": tmp_path / "search", "start": [[0.95, 0.93, 0.91]], "progress": False}
    wanted = search_length_configs(synthetic, SMALL, 9, "grid", **options)
    lines = path.read_bytes().splitlines(keepends=True)
    for kept in range(8, len(lines), 5):
        path.write_bytes(b"".join(lines[:kept]))
        again = search_length_configs(synthetic, SMALL, 9, "grid", **options)
        assert again.front == wanted.front
        assert sorted(map(repr, again.measured)) == sorted(map(repr, wanted.measured))  # none is evaluated twice


@pytest.mark.parametrize("damage", [b"{\n", b"\0\0\n", b"[1]\n", b'{"other": 1}\n'])
def test_a_journal_damaged_elsewhere_is_refused_by_name(tmp_path, damage):
    path = tmp_path / "search"
    search_length_configs(synthetic, SMALL, 8, "grid", storage=path, progress=False)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], damage, *lines[3:]]))
    with pytest.raises(ValueError, match=r"search is damaged: line 4 .* give another output_dir"):
        search_length_configs(synthetic, SMALL, 8, "grid", storage=path, progress=False)


def test_a_full_disk_is_reported_by_name_and_the_search_continues(tmp_path):
    """A limit on the size of files stands for the disk: the write fails in the middle of a record."""
    path = tmp_path / "search"
    search_length_configs(synthetic, SMALL, 27, "grid", storage=path, progress=False)
    wanted, whole = search_length_configs(synthetic, SMALL, 27, "grid", storage=path, progress=False), path.stat().st_size
    path.unlink()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    script = (
        "import resource, signal, sys\n"
        "from test_search import SMALL, search_length_configs, synthetic\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({whole // 2 + 3}, {limits[1]}))\n"
        "search_length_configs(synthetic, SMALL, 27, 'grid', storage=sys.argv[1], progress=False)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path])}
    failed = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, env=environment)
    assert failed.returncode == 1 and f"OSError: [Errno {errno.EFBIG}]" in failed.stderr and str(path) in failed.stderr
    assert 0 < path.stat().st_size <= whole // 2 + 3
    assert search_length_configs(synthetic, SMALL, 27, "grid", storage=path, progress=False) == wanted


def test_another_search_is_refused(tmp_path):
    options = {"storage": tmp_path / "s", "progress": False}
    search_length_configs(synthetic, SMALL, 2, "tpe", settings={"model": "a", "cost": "macs"}, **options)
    with pytest.raises(ValueError, match="another search .*cost was 'macs', is 'latency'.*Give another output_dir"):
        search_length_configs(synthetic, SMALL, 3, "tpe", settings={"model": "a", "cost": "latency"}, **options)
    with pytest.raises(ValueError, match="another search .*space was"):
        search_length_configs(synthetic, LengthSpace(3, smallest=0.8), 2, "tpe", **options)
    settings = {"cost": "macs", "model": "a"}
    assert len(search_length_configs(synthetic, SMALL, 3, "tpe", settings=settings, **options).measured) == 3


@pytest.mark.parametrize("bad", [(float("nan"), 1.0), (1.0, float("inf"))])
def test_scores_and_costs_that_are_not_finite_are_refused(bad):
    with pytest.raises(ValueError, match="both must be finite"):
        search_length_configs(lambda config: bad, SMALL, 8, progress=False)


def test_impossible_arguments_are_refused():
    with pytest.raises(ValueError, match="method is 'genetic'; valid are 'grid', 'tpe', 'nsga2'"):
        search_length_configs(synthetic, SMALL, method="genetic")
    with pytest.raises(ValueError, match="num_evaluations is 0"):
        search_length_configs(synthetic, SMALL, 0)
