import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from experiments.architectures import architecture_plugins, named_architectures
from experiments.architectures.geometry import ShapeError
from experiments.architectures.model_patterns import read_model_pattern
from experiments.architectures.zoo import ModelChoice, build, models, read_model
from experiments.errors import SpecError
from experiments.language.kinds import Faults
from experiments.language.yaml_text import parse

GOOD = """
from dataclasses import dataclass
from typing import Annotated

from experiments.language.fields import NoOptions
from experiments.language.kinds import Choice
from experiments.architectures.layers import Flatten
from experiments.architectures.networks.named import NamedArchitecture
from experiments.architectures.templates import Head

@dataclass(frozen=True, slots=True)
class Options:
    depth: Annotated[int, Choice((3, 5)), "how deep"] = 3

def network(options, input_shape):
    return [Flatten(), Head()]

NET = NamedArchitecture("{name}", "a test's", "none", Options, network)
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Give a function that puts a package with an architecture on the path."""

    def forget() -> None:
        architecture_plugins.entry_points.cache_clear()
        architecture_plugins.load.cache_clear()

    def add(package: str, name: str, module: str) -> None:
        folder = tmp_path / package
        information = folder / f"{package}-1.2.dist-info"
        information.mkdir(parents=True)
        (information / "METADATA").write_text(f"Name: {package}\nVersion: 1.2\n")
        (information / "entry_points.txt").write_text(
            f"[trainyard.architectures]\n{name} = {package}_networks:NET\n"
        )
        (folder / f"{package}_networks.py").write_text(dedent(module))
        monkeypatch.syspath_prepend(folder)
        monkeypatch.setitem(sys.modules, f"{package}_networks", None)  # to be undone at the end
        del sys.modules[f"{package}_networks"]
        forget()

    yield add
    forget()


def choose(text: str) -> ModelChoice:
    faults = Faults("spec.yaml")
    choice: ModelChoice = read_model(parse(text, source="spec.yaml"), "model", faults)
    faults.raise_any()
    return choice


def test_network_of_a_package_is_as_good_as_a_built_in_one(install: Callable[..., None]) -> None:
    install("nicenets", "nice_net", GOOD.format(name="nice_net"))
    choice = choose("nice_net5")
    assert choice == choose("{name: nice_net, depth: 5}")
    assert choice.label == "nice_net5"
    assert build(choice, input_shape=(1, 4, 4), output_shape=(7,)).parameters == 7 * 17
    assert list(models())[-1] == "nice_net"
    pattern = read_model_pattern(parse("nice_net", source="t"), "model", Faults("t"), own=())
    assert pattern.matches(choice)


def test_package_is_imported_only_when_it_is_asked_for(
    install: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    install("loudnets", "loud_net", "print('imported')\n" + GOOD.format(name="loud_net"))
    for text in ("vgg16", "torchvision/resnet18", "{name: own, layers: [flatten]}"):
        choose(text)
    with pytest.raises(SpecError):
        choose("{name: vgg, depth: 12}")
    assert capsys.readouterr().out == ""
    choose("loud_net3")
    assert capsys.readouterr().out == "imported\n"


def test_built_in_names_do_not_pay_for_the_search_for_packages() -> None:
    program = """
import sys
from experiments.language.kinds import Faults
from experiments.language.yaml_text import parse
from experiments.architectures.zoo import build, read_model
for text in ("fcn8s", "{name: own, layers: [{conv2d: {out_channels: classes, kernel_size: 1}}]}"):
    choice = read_model(parse(text, source="t"), "model", Faults("t"))
    build(choice, input_shape=(1, 32, 32), output_shape=(2, 32, 32))
print("importlib.metadata" in sys.modules)
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    ("name", "module", "message"),
    [
        ("bad_net", "1 / 0", "badnets_networks:NET: ZeroDivisionError: division by zero"),
        ("bad_net", "import no_such_module", "ModuleNotFoundError: No module named 'no_such_mo"),
        ("bad_net", "OTHER = 1", "AttributeError: module 'badnets_networks' has no attribute"),
        ("bad_net", "NET = 'a net'", "must be a NamedArchitecture, got str"),
        ("bad_net", GOOD.format(name="good_net"), "its name is 'good_net'; the entry point must"),
        ("Bad-Net", GOOD.format(name="Bad-Net"), "a name is made of small letters, digits and _"),
        (
            "bad_net",
            GOOD.format(name="bad_net").replace("network)", "network, tasks=('flying',))"),
            "tasks must be some of classification, binary, regression, reconstruction, segmentat",
        ),
        (
            "bad_net",
            GOOD.format(name="bad_net").replace("Choice((3, 5))", "3"),
            "options must be a dataclass of annotated fields, got <class 'badnets_networks.Opt",
        ),
    ],
    ids=["raises", "imports", "lacks", "type", "name", "letters", "tasks", "options"],
)
def test_broken_package_is_told_by_name_and_disturbs_no_other(
    install: Callable[..., None], name: str, module: str, message: str
) -> None:
    install("badnets", name, module)
    install("nicenets", "nice_net", GOOD.format(name="nice_net"))
    with pytest.raises(SpecError) as caught:
        choose(name)
    beginning = f"spec.yaml:1:1: model: the architecture {name!r} of badnets 1.2 cannot be used: "
    assert str(caught.value).startswith(beginning)
    assert message in str(caught.value)
    (fault,) = named_architectures.plugin_faults()
    assert message in fault
    assert "nice_net" in models()
    assert name not in models()
    assert choose("nice_net").name == "nice_net"


def test_error_of_a_package_s_network_is_told_as_what_does_not_fit(
    install: Callable[..., None],
) -> None:
    module = GOOD.format(name="bad_net").replace("return [", "return input_shape.wrong or [")
    install("badnets", "bad_net", module)
    message = r"bad_net of badnets 1\.2 cannot be built: AttributeError\(.* attribute 'wrong'"
    with pytest.raises(ShapeError, match=message):
        build(choose("bad_net"), input_shape=(1, 4, 4), output_shape=(7,))


def test_name_that_two_packages_offer_is_neither_s(install: Callable[..., None]) -> None:
    install("onenets", "same_net", GOOD.format(name="same_net"))
    install("twonets", "same_net", GOOD.format(name="same_net"))
    with pytest.raises(SpecError, match=r"of onenets 1\.2 and twonets 1\.2 cannot be used: both"):
        choose("same_net3")


def test_built_in_name_stays_what_it_is(install: Callable[..., None]) -> None:
    install("badnets", "lenet5", GOOD.format(name="lenet5"))
    assert models()["lenet5"].doc.startswith("two convolutions")
    assert "trainyard has a network of that name" in named_architectures.plugin_faults()[0]
