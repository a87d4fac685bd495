"""The search on functions whose front is known: it finds it, ends, resumes, and is shared by processes."""

import itertools
import json
import subprocess
import sys

import pytest

from hf_dynbert.budgets.search.optuna_search import METHODS, search_length_configs
from hf_dynbert.budgets.search.pareto import hypervolume, pareto_front
from hf_dynbert.budgets.search.space import LengthSpace


SMALL = LengthSpace.tokens(3, 14)
CALLS = """
import json, sys, time
from hf_dynbert.budgets.search.optuna_search import search_length_configs
from hf_dynbert.budgets.search.space import LengthSpace
def evaluate(length_config):
    print(json.dumps(length_config), flush=True)
    {more}
    return sum(length_config) ** 0.5, sum(length_config) + length_config[-1] * length_config[0]
search_length_configs(evaluate, LengthSpace.tokens(3, 14), {evaluations}, storage=sys.argv[1], progress=False)
"""


def synthetic(length_config):
    """Late layers cost less than they score; the middle one is worth little."""
    first, middle, last = length_config
    return (2 - 2.7 ** (-first / 5)) * (2 - 2.7 ** (-last / 3)) + 0.05 * middle**0.5, first**1.5 + middle + 0.7 * last


def everything():
    return [list(genes) for genes in itertools.product(range(14, 1, -1), repeat=3) if list(genes) == sorted(genes)[::-1]]


def volume(points):
    return hypervolume([(cost, score) for score, cost in points], (85.0, 1.0))


def fronts(evaluate, space, evaluations, seed):
    """What evolution and what chance find."""
    return [
        search_length_configs(evaluate, space, evaluations, method, seed=seed, progress=False).front
        for method in ("evolutionary", "random")
    ]


@pytest.mark.parametrize("method", METHODS)
def test_it_ends_and_its_front_is_one(method):
    calls = []
    found = search_length_configs(
        lambda config: calls.append(config) or synthetic(config), SMALL, 40, method, seed=1, progress=False
    )
    assert len(calls) <= 40 and len(found.measured) == 40 and found.screened == 0
    assert len({tuple(config) for config in calls}) == len(calls)  # nothing is measured twice
    costs, scores = [f.cost for f in found.front], [f.score for f in found.front]
    assert costs == sorted(set(costs)) and scores == sorted(set(scores))
    points = [measured.point for measured in found.measured]
    assert [found.front[place].point for place in range(len(costs))] == [points[index] for index in pareto_front(points)]
    for measured in found.measured:
        assert measured.length_config == sorted(measured.length_config, reverse=True)
        assert (measured.score, measured.cost) == synthetic(measured.length_config)


@pytest.mark.parametrize("method", METHODS)
def test_same_seed_same_front(method):
    one, two, other = (search_length_configs(synthetic, SMALL, 30, method, seed=seed, progress=False) for seed in (3, 3, 4))
    assert one == two and one.measured != other.measured


@pytest.mark.parametrize("seed", range(3))
def test_evolution_finds_the_true_front(seed):
    """An eighth of all configurations measured, 95 % of the true area, and no less than chance finds."""
    best = volume(synthetic(config) for config in everything())
    found, chance = (volume((f.score, f.cost) for f in front) for front in fronts(synthetic, SMALL, 60, seed))
    assert found >= chance and found >= 0.95 * best


@pytest.mark.parametrize("seed", range(2))
def test_evolution_finds_what_constant_ratios_do_not(seed):
    """Six layers, of which the fourth is where dropping is cheap: the true front drops there and nowhere else."""
    space = LengthSpace.shares(6)

    def evaluate(config):
        drops = [before - after for before, after in zip([1.0, *config], config, strict=False)]
        score = 10 - sum(drop * (1 if layer == 3 else 6) for layer, drop in enumerate(drops))
        return score, sum(config)

    true = [[1.0] * 3 + [share / 100] * 3 for share in range(8, 101)]
    worst = (6.0, 8.0)

    def area(configs):
        return hypervolume([evaluate(config)[::-1] for config in configs], worst)

    constant = area(space.decode(genes) for genes in space.spread(150))
    found, chance = (area(f.length_config for f in front) for front in fronts(evaluate, space, 250, seed))
    assert found >= 0.93 * area(true) and found > 2 * max(chance, constant)


def test_tiny_spaces_end():
    """Fewer configurations than evaluations, and a space of one gene."""
    for space in (LengthSpace.tokens(2, 4), LengthSpace.tokens(3, 9, layers=[1])):
        found = search_length_configs(lambda config: (sum(config), sum(config)), space, 40, progress=False)
        assert len(found.measured) == 40 and len({tuple(m.length_config) for m in found.measured}) <= 8


def test_spaces():
    space = LengthSpace.shares(4, layers=[1, 3])
    assert space.decode([50, 70]) == [1.0, 0.5, 0.5, 0.5] and space.encode([1.0, 0.5, 0.5, 0.25]) == [50, 25]
    assert LengthSpace.tokens(3, 384, fewest=91).decode([400, 120, 90]) == [384, 120, 90]
    for depth in (3, 6, 12):
        means = [sum(genes) / depth / 100 for genes in LengthSpace.shares(depth).spread(11)]
        assert means[0] == 1.0
        steps = [high - low for low, high in zip(means[1:], means, strict=False)]
        assert max(steps) - min(steps) < 0.05  # a hundredth a gene, and the floor of 0.08
    with pytest.raises(ValueError, match="layers is .* valid are some of 0 to 3"):
        LengthSpace.shares(4, layers=[4])
    with pytest.raises(ValueError, match="shares between 0 and 1"):
        LengthSpace.shares(4, smallest=1.5)
    with pytest.raises(ValueError, match="2 <= fewest < longest"):
        LengthSpace.tokens(4, 8, fewest=8)


def test_screens_spare_the_full_sample():
    full, small = [], []
    found = search_length_configs(
        lambda config: full.append(config) or synthetic(config),
        SMALL,
        60,
        screens=[lambda config: small.append(config) or synthetic(config)],
        progress=False,
    )
    assert len(full) + found.screened <= len(small) + 5 <= 65  # a configuration that comes again is not screened again
    assert len(full) <= 36 and found.screened >= 20  # one in three, and some more while few were seen
    assert volume((f.score, f.cost) for f in found.front) > 0.9 * volume(synthetic(config) for config in everything())


def test_what_scores_too_little_goes_no_further():
    best = max(synthetic(config)[0] for config in everything())
    full, seen = [], []
    found = search_length_configs(
        lambda config: full.append(config) or synthetic(config),
        SMALL,
        60,
        screens=[lambda config: seen.append(config) or synthetic(config)],
        least_scores=[0.6 * best, 0.9 * best],
        progress=False,
    )
    assert min(synthetic(config)[0] for config in seen) < 0.6 * best <= min(synthetic(config)[0] for config in full)
    assert all(one.score >= 0.9 * best for one in found.measured) and len(found.measured) < len(full)
    with pytest.raises(ValueError, match="zip"):
        search_length_configs(synthetic, SMALL, 5, least_scores=[1.0, 2.0], progress=False)


def test_a_search_that_was_interrupted_is_the_same_search(tmp_path):
    whole = search_length_configs(synthetic, SMALL, 30, seed=5, progress=False)
    calls = []

    def dies(config):
        calls.append(config)
        if len(calls) == 13:
            raise KeyboardInterrupt
        return synthetic(config)

    with pytest.raises(KeyboardInterrupt):
        search_length_configs(dies, SMALL, 30, seed=5, storage=tmp_path / "search", progress=False)
    found = search_length_configs(dies, SMALL, 30, seed=5, storage=tmp_path / "search", progress=False)
    assert found == whole
    assert len(calls) == 1 + len({tuple(m.length_config) for m in whole.measured})  # the thirteenth twice, no other
    again = search_length_configs(dies, SMALL, 30, seed=5, storage=tmp_path / "search", progress=False)
    assert again == whole


def run(script, storage, **options):
    command = [sys.executable, "-c", script, str(storage)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def test_a_killed_process_loses_nothing(tmp_path):
    script = CALLS.replace("{evaluations}", "25")
    dying = run(script.replace("{more}", "time.sleep(0.05)"), tmp_path / "s")
    before = [json.loads(dying.stdout.readline()) for _ in range(8)]
    dying.kill()
    dying.wait()
    left = run(script.replace("{more}", "pass"), tmp_path / "s")
    out, error = left.communicate()
    assert left.returncode == 0, error
    after = [json.loads(line) for line in out.splitlines()]
    assert not [config for config in after if config in before[:7]]  # the eighth was under way


def test_two_processes_work_on_one_search(tmp_path):
    script = CALLS.replace("{evaluations}", "40").replace("{more}", "time.sleep(0.03)")
    script = script.replace(
        "search_length_configs(evaluate", "print('ready', flush=True); input()\nsearch_length_configs(evaluate"
    )
    both = [run(script, tmp_path / "s", stdin=subprocess.PIPE) for _ in range(2)]
    assert [process.stdout.readline() for process in both] == ["ready\n"] * 2
    for process in both:  # both have imported all: they start together
        process.stdin.write("\n")
        process.stdin.flush()
    lines = []
    for process in both:
        out, error = process.communicate()
        assert process.returncode == 0, error
        lines.append(out.splitlines())
    assert min(map(len, lines)) >= 5 and sum(map(len, lines)) <= 41  # the last one may be under way in both
    found = search_length_configs(synthetic, SMALL, 1, storage=tmp_path / "s", progress=False)
    assert {tuple(m.length_config) for m in found.measured} >= {tuple(json.loads(line)) for line in sum(lines, [])}


def test_what_comes_first_is_tried_even_after_an_interrupt(tmp_path):
    start = [[9, 7, 5], [0.5, 0.4, 0.3]]  # the second is of the other kind

    def dies(config):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search_length_configs(dies, SMALL, 5, storage=tmp_path / "s", start=start, progress=False)
    for _ in range(2):
        found = search_length_configs(synthetic, SMALL, 5, storage=tmp_path / "s", start=start, progress=False)
        configs = [m.length_config for m in found.measured]
        assert configs.count([9, 7, 5]) == 1 and [2, 2, 2] not in configs[:2]


def test_before_the_first_layer_that_drops_all_is_all():
    space = LengthSpace.tokens(4, 96, layers=[1, 3], positions=128)
    assert space.decode([80, 40]) == [128, 80, 80, 40] and space.decode([96, 96]) == [128, 96, 96, 96]


def test_another_search_is_not_mixed_in(tmp_path):
    options = {"storage": tmp_path / "s", "progress": False}
    search_length_configs(synthetic, SMALL, 2, settings={"model": "a", "cost": "macs"}, **options)
    with pytest.raises(ValueError, match="another search .*cost was 'macs', is 'latency'.*Give another file"):
        search_length_configs(synthetic, SMALL, 3, settings={"model": "a", "cost": "latency"}, **options)
    assert len(search_length_configs(synthetic, SMALL, 3, settings={"cost": "macs", "model": "a"}, **options).measured) == 3


@pytest.mark.parametrize("bad", [(float("nan"), 1.0), (1.0, float("inf"))])
def test_scores_that_are_no_numbers_are_refused(bad):
    with pytest.raises(ValueError, match="both must be finite"):
        search_length_configs(lambda config: bad, SMALL, 4, progress=False)


def test_what_cannot_be_searched_is_refused(tmp_path):
    with pytest.raises(ValueError, match="method is 'genetic'; valid are 'evolutionary', 'tpe'"):
        search_length_configs(synthetic, SMALL, method="genetic")
    with pytest.raises(ValueError, match="num_evaluations is 0"):
        search_length_configs(synthetic, SMALL, 0)
    search_length_configs(synthetic, SMALL, 2, storage=tmp_path / "s", progress=False)
    with pytest.raises(ValueError, match="holds another search .*space was"):
        search_length_configs(synthetic, LengthSpace.tokens(3, 20), 2, storage=tmp_path / "s", progress=False)
