"""The house as it is meant to be: imports point down, third parties come in by their doors."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = {
    "anchorweave.edit_lists": 0,
    "anchorweave.errors": 0,
    "anchorweave.files": 0,
    "anchorweave.progress": 0,
    "anchorweave.ranges": 0,
    "anchorweave.locks": 0,
    "anchorweave.batched": 1,
    "anchorweave.file_sets": 1,
    "anchorweave.geometry": 1,
    "anchorweave.eight_bit": 1,
    "anchorweave.diffusion": 1,
    "anchorweave.clip": 2,
    "anchorweave.anchors": 2,
    # Beside the joint: geometry compares with filled anchors, networks encode them.
    "anchorweave.holes": 2,
    "anchorweave.retrieval": 2,
    "anchorweave.images": 2,
    "anchorweave.video": 2,
    "anchorweave.recordings": 3,
    "anchorweave.perception": 3,
    "anchorweave.rendering": 3,
    "anchorweave.datasets": 3,
    "anchorweave.evaluation": 3,
    "anchorweave.models": 3,
    "anchorweave.memory": 4,
    "anchorweave.pipelines": 4,
    "anchorweave.renamed_options": 2,
    "anchorweave.field_types": 2,
    "anchorweave.yaml_words": 3,
    "anchorweave.config": 5,
    "anchorweave.run_config": 5,
    "anchorweave.option_help": 5,
    "anchorweave.command": 5,
    "anchorweave.world": 5,
    "training": 6,
    "inference": 6,
    # The tables of the papers train, generate and measure.
    "training.ablations": 7,
    "training.ablate": 8,
}
# Arrows on a floor: retrieval writes the report that anchors.py defines; commands read configs.
ON_ONE_FLOOR = {
    ("anchorweave.retrieval", "anchorweave.anchors"),
    ("anchorweave.option_help", "anchorweave.config"),
    ("anchorweave.command", "anchorweave.config"),
    ("anchorweave.command", "anchorweave.option_help"),
}
DOORS = {
    "diffusers": ("anchorweave/models/", "anchorweave/pipelines/"),
    "transformers": ("anchorweave/models/", "anchorweave/pipelines/", "anchorweave/perception/"),
    "huggingface_hub": ("anchorweave/models/",),
    "omegaconf": ("anchorweave/config.py",),
    "accelerate": ("training/",),
    "decord": ("anchorweave/video.py",),
    "imageio": ("anchorweave/video.py",),
    "open3d": ("anchorweave/geometry/",),
    "numba": (
        "anchorweave/rendering/",
        "anchorweave/geometry/",
        "anchorweave/recordings/",
        "anchorweave/perception/",
        "anchorweave/holes/",
        "anchorweave/retrieval/",
        "anchorweave/eight_bit.py",
    ),
    "wandb": ("training/",),
    "scipy": ("anchorweave/retrieval/", "inference/explorer/splines.py"),
    "pycolmap": (
        "anchorweave/evaluation/colmap_worker.py",
        "anchorweave/recordings/reconstruction/worker.py",
        "anchorweave/recordings/reconstruction/placed_model.py",
    ),
    "romatch": ("anchorweave/evaluation/perceptual/match_accuracy.py",),
    "viser": ("inference/explorer/",),
    "vbench": ("anchorweave/evaluation/perceptual/vbench_worker.py",),
}
# What the two halves may not see of each other.
GEOMETRY_HALF = {"geometry", "retrieval", "rendering", "recordings", "perception", "memory"}
GENERATION_HALF = {"models", "diffusion", "pipelines"}
# Which files may name a class of one family of diffusers: the family's own, and the builders of
# small models from its parts.
NAMES_A_FAMILY = (
    "anchorweave/models/backbones/",
    "anchorweave/models/codec/",
    "anchorweave/pipelines/",
    "anchorweave/models/small/",
)
CLASS_OF_A_FAMILY = re.compile(
    r"\b(?:Autoencoder(?:KL)?)?(?:CogVideoX|Wan)[A-Z]\w*|\bAutoencoderKL\w+"
)

FOLDERS = ("anchorweave", "training", "inference", "configs", "data", "pretrained", "tests")
FILES = [
    path
    for folder in ("anchorweave", "training", "inference")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
READMES = [ROOT / "README.md", *sorted(p for d in FOLDERS for p in (ROOT / d).rglob("*.md"))]
LINK = re.compile(r"\]\(([^)#\s]+)")
# Not data/ and pretrained/, where readers put their own files.
PATH = re.compile(r"(?<![\w/.-])(?:anchorweave|configs|inference|scripts|tests|training)/[\w./*-]*")
MODULE = re.compile(r"python -m ((?:inference|tests|training)(?:\.\w+)+)")


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str | None:
    return max((r for r in FLOORS if f"{module}.".startswith(f"{r}.")), key=len, default=None)


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write the whole name"
            # `from package import module` may mean the module.
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                is_module = (ROOT / inner.replace(".", "/")).with_suffix(".py").exists()
                found.add(inner if is_module else node.module)
    return found


IMPORTS = {path: imports_of(path) for path in FILES}


def name(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=name)
def test_every_file_has_a_room_and_imports_from_floors_below(path):
    room = room_of(module_of(path))
    assert room or module_of(path) == "anchorweave", f"{path} lies in no room"
    for imported in IMPORTS[path]:
        other = room_of(imported)
        if other is None or other == room:
            continue
        below = FLOORS[other] < FLOORS[room] or (room, other) in ON_ONE_FLOOR
        assert below, f"{name(path)} ({room}) imports {imported}: the arrow does not point down"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_third_parties_come_in_by_their_doors(path):
    for imported in IMPORTS[path]:
        door = DOORS.get(imported.partition(".")[0])
        assert door is None or name(path).startswith(door), f"{name(path)} imports {imported}"
        assert imported.partition(".")[0] not in ("torchvision", "sys.path")


@pytest.mark.parametrize("path", FILES, ids=name)
def test_geometry_and_generation_do_not_know_each_other(path):
    inside = module_of(path).split(".")[1:2]
    for imported in IMPORTS[path]:
        other = imported.split(".")[1:2] if imported.startswith("anchorweave.") else []
        pair = {*inside, *other}
        assert not (pair & GEOMETRY_HALF and pair & GENERATION_HALF), (
            f"{name(path)} imports {imported}; the halves meet in anchors.py only"
        )


@pytest.mark.parametrize("path", FILES, ids=name)
def test_only_a_familys_own_files_name_its_classes(path):
    if name(path).startswith(NAMES_A_FAMILY):
        return
    found = CLASS_OF_A_FAMILY.findall(path.read_text())
    assert not found, f"{name(path)} names {found[0]}; ask the family for it (models/backbones)"


def test_files_that_may_name_a_family_are_there_and_do():
    for allowed in NAMES_A_FAMILY:
        texts = [path.read_text() for path in FILES if name(path).startswith(allowed)]
        assert any(CLASS_OF_A_FAMILY.search(text) for text in texts), f"{allowed} names none"


def test_no_circles_between_files():
    modules = {module_of(path): path for path in FILES}
    graph = {m: {i for i in IMPORTS[p] if i in modules and i != m} for m, p in modules.items()}
    done, open_ = set(), []

    def visit(module):
        assert module not in open_, f"circle: {' -> '.join([*open_, module])}"
        if module in done:
            return
        open_.append(module)
        for other in graph[module]:
            visit(other)
        open_.pop()
        done.add(module)

    for module in graph:
        visit(module)


# Commands lie on top of these packages, the rooms below them hold what they are made of.
ROOMS = ["training", "inference", "anchorweave.models"]


@pytest.mark.parametrize("package", ROOMS)
def test_rooms_form_no_circle_and_know_nothing_of_the_commands_above_them(package):
    folder = ROOT / package.replace(".", "/")
    above = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    rooms = {path.name for path in folder.iterdir() if (path / "__init__.py").is_file()}
    # The papers' tables stand above the commands: they run them.
    graph: dict[str, set[str]] = {room: set() for room in rooms - {"ablations"}}
    for path, imports in IMPORTS.items():
        room = module_of(path).removeprefix(f"{package}.").partition(".")[0]
        if room in graph and module_of(path).startswith(f"{package}."):
            inside = {i.removeprefix(f"{package}.") for i in imports if i.startswith(f"{package}.")}
            if package != "anchorweave.models":
                up = {i for i in inside if i.partition(".")[0] in above}
                assert not up, f"{name(path)} imports the command {up}"
            graph[room] |= {i.partition(".")[0] for i in inside} & rooms - {room}
    while leaves := {room for room, others in graph.items() if not others & graph.keys()}:
        graph = {room: others for room, others in graph.items() if room not in leaves}
    assert not graph, f"rooms of {package} import each other in a circle: {graph}"


@pytest.mark.parametrize("package", ["anchorweave", "training", "inference"])
def test_no_folder_is_crowded(package):
    for folder in {path.parent for path in FILES if name(path).startswith(package)}:
        files = [path for path in folder.glob("*.py") if path.stem != "__init__"]
        assert len(files) <= 24, f"{folder} holds {len(files)} files; give a part of them a room"


def anchor_of(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("readme", READMES, ids=name)
def test_links_of_readmes_lead_somewhere(readme):
    for link in LINK.findall(readme.read_text()):
        assert "://" in link or (readme.parent / link).exists(), f"{name(readme)}: {link}"


@pytest.mark.parametrize("readme", READMES, ids=name)
def test_links_to_headings_lead_to_one(readme):
    for file, anchor in re.findall(r"\]\(([^)#\s:]*)#([^)\s]+)\)", readme.read_text()):
        text = (readme.parent / file if file else readme).read_text()
        anchors = {anchor_of(heading) for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}
        assert anchor in anchors, f"{name(readme)}: {file}#{anchor}"


def test_every_folder_of_code_is_linked_in_the_tree():
    readme = ROOT / "anchorweave" / "README.md"
    tree = readme.read_text().partition("## The tree")[2].partition("\n## ")[0]
    links = {(readme.parent / link).resolve() for link in LINK.findall(tree)}
    missing = {name(path.parent) for path in FILES if path.parent.resolve() not in links}
    assert not missing, f"anchorweave/README.md, The tree: add {sorted(missing)}"


@pytest.mark.parametrize("readme", READMES, ids=name)
def test_paths_and_modules_that_readmes_name_exist(readme):
    text = readme.read_text()
    modules = {module.replace(".", "/") for module in MODULE.findall(text)}
    for path in {path.rstrip("./") for path in PATH.findall(text)} | modules:
        there = any(ROOT.glob(path)) or (ROOT / f"{path}.py").is_file()
        assert there, f"{name(readme)} names {path}, which does not exist"


def test_the_table_of_configs_names_what_is_there():
    readme = ROOT / "configs" / "README.md"
    cells = re.findall(r"^\| (`.*?) \|", readme.read_text(), re.MULTILINE)
    named = [path for cell in cells for path in re.findall(r"`([^`]+)`", cell)]
    assert len(named) > 8
    assert not [path for path in named if not (readme.parent / path).exists()]


def test_scripts_are_short_and_hold_one_command():
    for path in (ROOT / "scripts").glob("*.sh"):
        if path.name == "setup.sh":
            continue
        lines = path.read_text().splitlines()
        assert len(lines) <= 15, path
        assert lines[1].startswith("# "), f"{path} does not say what it does"
        assert sum('"$PYTHON" -m' in line for line in lines) == 1, path


def test_nothing_is_named_for_what_it_is_not():
    banned = {"utils", "misc", "common", "helpers", "util"}
    assert not [p for p in FILES if banned & set(module_of(p).split("."))]
