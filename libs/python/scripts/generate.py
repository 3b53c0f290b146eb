"""Writes src/legion/_proto from the contracts; a folder as its argument is written to instead.

The messages are given names of their own, of files as of types. A process knows each name only once: with the
contracts' names this package could not be loaded beside another one that brings stubs of `buf.validate`, `google.rpc`
or of Legion itself. On the wire a message has no name.
"""

import sys
import tempfile
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)
from grpc_tools import protoc

PROTOS = Path(__file__).parents[3] / "proto"
SOURCE = Path(__file__).parents[1] / "src"
ROOTS = [
    "legion/registry/v1/session.proto",
    "legion/dispatcher/v1/dispatcher_service.proto",
    "google/rpc/error_details.proto",
]


def main() -> None:
    """Generates into the folder that the command line names, `src` by default."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else SOURCE
    with tempfile.TemporaryDirectory() as folder:
        described = Path(folder, "set.pb")
        bundled = Path(protoc.__file__).with_name("_proto")
        paths = ["-I", str(PROTOS), "-I", str(bundled)]
        run(*paths, "--include_imports", f"--descriptor_set_out={described}", *ROOTS)
        contracts = FileDescriptorSet.FromString(described.read_bytes())
        named = [own(file) for file in contracts.file if not file.name.startswith("buf/")]
        described.write_bytes(FileDescriptorSet(file=named).SerializeToString())
        names = [file.name for file in named if file.name.startswith("legion/")]
        run(f"--descriptor_set_in={described}", f"--python_out={out}", f"--pyi_out={out}", *names)


def own(file: FileDescriptorProto) -> FileDescriptorProto:
    """Returns the file under its own name, without services (methods are called by path) and without validation."""
    if file.name.startswith("google/protobuf/"):
        return file
    file.name = own_name(file.name)
    file.package = own_type(f".{file.package}").removeprefix(".")
    imports = [own_name(name) for name in file.dependency if not name.startswith("buf/")]
    del file.dependency[:]
    file.dependency.extend(imports)
    file.ClearField("options")
    file.ClearField("service")
    for message in file.message_type:
        clean(message)
    for enum in file.enum_type:
        enum.ClearField("options")
    return file


def clean(message: DescriptorProto) -> None:
    """Removes the options, where the rules of validation stand, and gives its fields' types their own names."""
    for field in message.field:
        field.ClearField("options")
        if field.HasField("type_name"):
            field.type_name = own_type(field.type_name)
    for oneof in message.oneof_decl:
        oneof.ClearField("options")
    for nested in message.nested_type:
        # A map's entry is one by its option.
        if not nested.options.map_entry:
            nested.ClearField("options")
        clean(nested)


def own_name(path: str) -> str:
    """Returns the path that a file of the contracts is imported by here."""
    return path if path.startswith("google/protobuf/") else f"legion/_proto/{Path(path).name}"


def own_type(name: str) -> str:
    """Returns the name that a type or a package of the contracts has here."""
    if name.startswith(".legion."):
        return f".legion_python{name.removeprefix('.legion')}"
    return f".legion_python{name}" if name.startswith(".google.rpc") else name


def run(*arguments: str) -> None:
    """Runs protoc."""
    if protoc.main(["protoc", *arguments]) != 0:
        raise SystemExit("protoc failed")


if __name__ == "__main__":
    main()
