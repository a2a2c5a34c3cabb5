"""INP-Former: the network equals torch's, its ideas do what they say, and a killed fit loses nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from export.bundling import export_fitted
from export.checkpoint import Checkpoint
from export.draft import draft_bundle
from export.fitted import load_fitted, save_fitted
from export.fitting import NetworkFeatures, fit_method
from export.methods.inp_former import InpFormerExport, _Moments
from export.networks.inp_former import Form
from runtime.bundle import load_bundle
from runtime.errors import ConfigError
from runtime.measure.gate import spread
from runtime.opening import open_detector
from runtime.sources.synthetic import SyntheticConfig, SyntheticSource

torch = pytest.importorskip("torch")

from export.training import inp_former as training  # noqa: E402
from export.training.loop import Plan, train  # noqa: E402
from export.training.stable_adamw import StableAdamW  # noqa: E402

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

SMALL = InpFormerExport(id="web", size=160, steps=24)
LONGER = msgspec.structs.replace(SMALL, steps=150)
"""Until it tells a planted defect."""
FORM = Form(16, 8, 3, 2, 32, "aside")


def silent(step: str, done: int, total: int, note: str = "") -> None:
    """Nobody watches."""


def sections(count: int) -> list[U8]:
    """Good sections of the synthetic web."""
    config = SyntheticConfig(width=320, height=256, texture="granular", seed=5, defect_rate=0.0)
    source = SyntheticSource(config)
    images = [np.zeros(source.shape, np.uint8) for _ in range(count)]
    for section, image in enumerate(images):
        source.render(section, section, image)
    return images


def by_torch(method: InpFormerExport, weights: dict[str, F32], image: U8) -> F32:
    """The anomaly map of an image: frozen features, then everything that was trained in torch."""
    features = NetworkFeatures(draft_bundle(method, Path(), Path("x")).bundle, [image])[0]
    rows = []
    for i, feature in enumerate(features):
        flat = feature.reshape(1, -1, feature.shape[2])
        rows.append(torch.from_numpy(flat @ weights[f"project.{i}"].T))
    model = training.InpFormer(method._form([row.shape[2] for row in rows]), 9)
    model.load_state_dict(
        {name: torch.from_numpy(weights[name].copy()) for name in weights if not name.startswith("project.")}
    )
    with torch.no_grad():
        _, rebuilt = model(rows)
    cosine = torch.nn.functional.cosine_similarity
    cells = [feature.shape[:2] for feature in features]
    maps = [1 - cosine(e, d, dim=2).view(n).numpy() for e, d, n in zip(rows, rebuilt, cells, strict=True)]
    _, arrays = method.head(draft_bundle(method, Path(), Path("x")).bundle.manifest.network, {})
    whole = [arrays[f"rows_{i}"] @ m @ arrays[f"columns_{i}"].T for i, m in enumerate(maps)]
    finished: F32 = np.mean(whole, axis=0)
    return finished


def test_fit_save_load_export_run_gives_torchs_own_map_twice(tmp_path: Path) -> None:
    images = sections(6)
    save_fitted(tmp_path / "fitted", fit_method(LONGER, Path(), images[:5]))
    fitted = load_fitted(tmp_path / "fitted")
    export_fitted(LONGER, Path(), fitted, tmp_path / "out")
    bundle = load_bundle(tmp_path / "out")
    detector = open_detector(bundle, head="reference")
    first = detector.predict(images[5])
    found, score = first.anomaly_map.copy(), first.score
    wanted = by_torch(LONGER, dict(fitted.arrays), images[5])
    # FP32 in two orders of summation, over the whole network.
    assert abs(found - wanted).max() <= 1e-4 * wanted.max()
    assert wanted.flat[found.argmax()] >= (1 - 1e-4) * wanted.max()
    assert detector.predict(images[5]).score == score
    np.testing.assert_array_equal(detector.predict(images[5]).anomaly_map, found)


@pytest.mark.parametrize("joined", ["aside", "mean"])
def test_the_graph_is_the_module_in_both_forms(joined: Any, tmp_path: Path) -> None:
    """With random weights, as a checkpoint of the authors' has: eight blocks, two groups."""
    import onnxruntime

    from export.networks.graph import Graph
    from export.networks.inp_former import lay_inp_former

    form = Form(32, 4, 6, 8, 128, joined)
    model = training.InpFormer(form, 0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    assert {name: array.shape for name, array in weights.items()} == form.shapes()
    channels = 16 if joined == "aside" else 32
    graph = Graph()
    groups = [(name, (1, 5, 7, channels)) for name in ("a", "b")]
    shapes = lay_inp_former(graph, groups, form, weights)
    data = graph.model("t", dict(groups), shapes).SerializeToString()
    rng = np.random.default_rng(0)
    given = {name: rng.normal(0, 1, shape).astype(np.float32) for name, shape in groups}
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    found = dict(zip(shapes, session.run(list(shapes), given), strict=True))
    with torch.no_grad():
        _, rebuilt = model([torch.from_numpy(given[name]).view(1, 35, channels) for name in ("a", "b")])
    for i, wanted in enumerate(rebuilt, 1):
        np.testing.assert_array_equal(found[f"e_{i}"], given["ab"[i - 1]])
        got = found[f"d_{i}"].reshape(wanted.shape)
        assert abs(got - wanted.numpy()).max() <= 1e-4 * abs(wanted.numpy()).max()


def test_parameters_of_the_paper_are_counted_as_the_paper_counts() -> None:
    base = Form(768, 12, 6, 8, 3072, "mean").shapes()
    small = Form(384, 6, 6, 8, 1536, "mean").shapes()
    assert sum(int(np.prod(shape)) for shape in base.values()) == pytest.approx(68.5e6, rel=1e-3)
    assert sum(int(np.prod(shape)) for shape in small.values()) == pytest.approx(17.2e6, rel=3e-3)


def tokens(images: int = 4, cells: int = 60, seed: int = 0) -> list[Any]:
    """Two groups of features with structure: few directions, some noise."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(5, 16, generator=generator)
    kinds = torch.randint(0, 5, (images, cells), generator=generator)
    whole = centres[kinds] + 0.2 * torch.randn(images, cells, 16, generator=generator)
    return [whole[:, :, :8].contiguous(), whole[:, :, 8:].contiguous()]


def trained(groups: list[Any], coherence: float = 0.2, steps: int = 300) -> training.InpFormer:
    """A model trained on the groups as one batch."""
    model = training.InpFormer(FORM, 0)
    how = training.Losses(60, coherence, 3.0)

    def loss(indices: Any, generator: Any) -> Any:
        return training.total_loss(model, [group[indices] for group in groups], None, how)

    train(model, loss, len(groups[0]), Plan(steps, 4, warm_up=20), "", Checkpoint(None), silent)
    return model


def coherence_of(model: training.InpFormer, groups: list[Any]) -> float:
    """The coherence loss as it stands."""
    with torch.no_grad():
        prototypes, _ = model(groups)
        return float(training.coherence_loss(training.joined(groups, FORM), prototypes))


def test_the_coherence_loss_falls_with_training_and_less_without_it() -> None:
    groups = tokens()
    before = coherence_of(training.InpFormer(FORM, 0), groups)
    model = trained(groups)
    assert coherence_of(model, groups) < 0.75 * before
    assert coherence_of(model, groups) < coherence_of(trained(groups, coherence=0.0), groups)


def test_every_prototype_is_some_tokens_nearest() -> None:
    groups = tokens()
    model = trained(groups)
    with torch.no_grad():
        prototypes, _ = model(groups)
    normal = torch.nn.functional.normalize
    cosine = normal(training.joined(groups, FORM), dim=2) @ normal(prototypes, dim=2).transpose(1, 2)
    assert set(cosine.argmax(dim=2).flatten().tolist()) == set(range(FORM.prototypes))


def test_soft_mining_weighs_hard_tokens_more_and_gamma_0_is_the_plain_cosine() -> None:
    encoded = torch.nn.functional.normalize(
        torch.randn(1, 2, 4, generator=torch.Generator().manual_seed(0)), dim=2
    )
    off = torch.tensor([0.1, 1.0]).view(1, 2, 1) * torch.ones(1, 2, 4)

    def gradient(gamma: float) -> Any:
        decoded = (encoded + off).clone().requires_grad_()
        # A copy in between: the hook stands on what the loss is given.
        training.soft_mining_loss([encoded], [decoded * 1], gamma).backward()
        return decoded.grad

    plain = (encoded + off).clone().requires_grad_()
    (1 - torch.nn.functional.cosine_similarity(encoded.flatten(1), plain.flatten(1))).mean().backward()
    torch.testing.assert_close(gradient(0.0), plain.grad)
    gain = gradient(3.0).norm(dim=2) / gradient(0.0).norm(dim=2)
    assert gain[0, 1] > 1 > gain[0, 0]


def test_the_optimiser_bounds_a_spike_and_is_adamw_without_one() -> None:
    weights = [torch.ones(3, requires_grad=True) for _ in range(2)]
    ours, theirs = (
        StableAdamW([weights[0]], 0.1),
        torch.optim.AdamW([weights[1]], 1e-2, weight_decay=0.1, amsgrad=True, eps=1e-10),
    )
    ours.param_groups[0]["lr"] = 1e-2
    for gradient in (0.3, 0.3, 0.2, 0.1):
        for weight, optimiser in zip(weights, (ours, theirs), strict=True):
            weight.grad = torch.full((3,), gradient)
            optimiser.step()
    torch.testing.assert_close(weights[0], weights[1])
    before = weights[0].detach().clone()
    weights[0].grad = torch.full((3,), 1e4)
    ours.step()
    assert abs(weights[0].detach() - before).max() < 1e-2


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    images = sections(4)
    first, second = (fit_method(SMALL, Path(), images).arrays for _ in range(2))
    other = fit_method(msgspec.structs.replace(SMALL, seed=1), Path(), images).arrays
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])
    assert not np.array_equal(first["prototype_token"], other["prototype_token"])


FIT = """
import sys
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[1]).parent))
from test_method_inp_former import SMALL, sections
from export.checkpoint import Checkpoint
from export.fitting import fit_method
def report(step, done, total, note=""):
    print(step, done, flush=True)
fit_method(SMALL, Path(), sections(4), report, Checkpoint(Path(sys.argv[2])))
"""


def test_a_fit_killed_by_kill_9_goes_on_to_the_same_result(tmp_path: Path) -> None:
    kept = tmp_path / "fit.checkpoint"
    command = [sys.executable, "-c", FIT, __file__, str(kept)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as fit:
        assert fit.stdout is not None
        for line in fit.stdout:
            if line.startswith("train 5"):
                os.kill(fit.pid, signal.SIGKILL)
                break
    assert fit.returncode == -signal.SIGKILL
    epochs: list[int] = []

    def report(step: str, done: int, total: int, note: str = "") -> None:
        if step == "train":
            epochs.append(done)

    resumed = fit_method(SMALL, Path(), sections(4), report, Checkpoint(kept)).arrays
    assert epochs[0] > 5
    whole = fit_method(SMALL, Path(), sections(4)).arrays
    for name, array in whole.items():
        np.testing.assert_array_equal(array, resumed[name])


def test_a_checkpoint_of_other_images_is_not_gone_on_with(tmp_path: Path) -> None:
    kept = Checkpoint(tmp_path / "fit.checkpoint")
    fit_method(SMALL, Path(), sections(4), checkpoint=kept)
    with pytest.raises(ConfigError, match="other images, settings or versions"):
        fit_method(SMALL, Path(), sections(5), checkpoint=kept)


def test_a_loss_that_is_no_number_stops_with_its_step() -> None:
    model = training.InpFormer(FORM, 0)
    groups = tokens()
    groups[0][2, 7, 3] = float("nan")
    how = training.Losses(60, 0.2, 3.0)

    def loss(indices: Any, generator: Any) -> Any:
        return training.total_loss(model, [group[indices] for group in groups], None, how)

    with pytest.raises(ConfigError, match="step 1: loss is nan"):
        train(model, loss, 4, Plan(2, 4), "", Checkpoint(None), silent)


def test_each_epoch_is_reported_with_its_loss() -> None:
    notes: list[tuple[int, int, str]] = []

    def report(step: str, done: int, total: int, note: str = "") -> None:
        if step == "train":
            notes.append((done, total, note))

    fit_method(SMALL, Path(), sections(4), report)
    assert [done for done, _, _ in notes] == list(range(1, notes[-1][1] + 1))
    losses = [float(note.removeprefix("loss ")) for _, _, note in notes]
    assert losses[-1] < 0.9 * losses[0]


def test_the_threshold_comes_from_images_that_were_not_trained_on() -> None:
    images = sections(6)
    fitted = fit_method(SMALL, Path(), images)
    assert spread(6, 2) == [0, 5]
    hint = fitted.facts.suggestion
    assert hint.good_images == 2
    draft = draft_bundle(SMALL, Path(), Path("x")).with_memory(fitted.arrays)
    greatest = max(draft.scores([images[0], images[5]]))
    assert hint.threshold == np.nextafter(np.float32(greatest), np.float32(np.inf))


def test_a_projection_brings_all_directions_to_one_spread_and_survives_a_dead_channel() -> None:
    rng = np.random.default_rng(0)
    rows = (rng.normal(2, 1, (5000, 10)) * np.array([8, 7, 6, 5, 4, 3, 2, 1, 0.5, 0])).astype(np.float32)
    moments = _Moments(10)
    moments.add(rows[:2000].reshape(40, 50, 10))
    moments.add(rows[2000:].reshape(60, 50, 10))
    found = moments.components(8)
    assert found.shape == (8, 10)
    np.testing.assert_allclose((rows @ found.T).std(axis=0), 1, rtol=0.01)
    dead = _Moments(8)
    dead.add(np.zeros((2, 2, 8), np.float32))
    assert np.isfinite(dead.components(8)).all()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((key, 0) for key in ("prototypes", "blocks", "steps", "batch", "queries")),
        ("width", 1),
        ("seed", -1),
        ("coherence", -0.1),
        ("mining", float("nan")),
    ],
)
def test_settings_out_of_range_are_refused(key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{key} is {value}; expected"):
        InpFormerExport(id="a", **{key: value})


def test_without_torch_it_says_so_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("export.training")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ConfigError, match=r"package torch is missing; pip install 'gonogo\[fit\]'"):
        fit_method(SMALL, Path(), sections(3))
