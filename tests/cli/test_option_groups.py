import inspect
from dataclasses import dataclass
from typing import Annotated

import typer
from typer.testing import CliRunner

from unibind.cli.option_groups import OptionGroup, with_groups


@dataclass(frozen=True, slots=True)
class Oven(OptionGroup):
    heat: Annotated[int, typer.Option(min=0, help="Degrees.")] = 180
    fan: Annotated[bool, typer.Option("--fan", help="Blow.")] = False
    rack: Annotated[str | None, typer.Option("--rack", help="Which.")] = None


def bake(bread: Annotated[str, typer.Argument()], oven: Oven = Oven(heat=220)) -> None:
    """Bake."""
    typer.echo(f"{bread} {oven}")


def test_a_group_s_fields_are_options_of_the_command_with_the_defaults_it_says():
    app = typer.Typer()
    app.command()(with_groups(bake))
    run = CliRunner().invoke
    assert run(app, ["rye"]).output == f"rye {Oven(heat=220)}\n"
    assert run(app, ["rye", "--heat", "90", "--fan"]).output == f"rye {Oven(90, fan=True)}\n"
    assert run(app, ["rye", "--heat", "-1"]).exit_code == 2
    assert list(inspect.signature(with_groups(bake)).parameters) == ["bread", "heat", "fan", "rack"]


def test_what_a_person_would_type_leaves_out_what_is_so_by_default():
    assert Oven().as_arguments() == ""
    assert Oven(200, fan=True, rack="the top").as_arguments() == "--heat 200 --fan --rack 'the top'"
