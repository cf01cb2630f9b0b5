"""`held` names its commands, and each of them explains itself."""

from importlib import import_module

import pytest

from server.cli import COMMANDS, main


@pytest.mark.parametrize(("words", "status"), [([], 2), (["--help"], 0), (["-h"], 0), (["nonsense"], 2)])
def test_without_a_command_it_lists_them(
    words: list[str], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == status
    told = capsys.readouterr().out
    assert all(name in told for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert callable(import_module(COMMANDS[name][0]).run)
    with pytest.raises(SystemExit) as stopped:
        main([name, "--help"])
    assert stopped.value.code == 0
    assert f"held {name}" in capsys.readouterr().out
