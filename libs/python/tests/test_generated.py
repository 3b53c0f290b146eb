import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1]
COMMITTED = PACKAGE / "src/legion/_proto"


@pytest.mark.skipif(not (PACKAGE.parents[1] / "proto").exists(), reason="the contracts are not there")
def test_the_stubs_are_what_the_contracts_generate(tmp_path: Path) -> None:
    subprocess.run([sys.executable, PACKAGE / "scripts/generate.py", tmp_path], check=True)
    fresh = tmp_path / "legion/_proto"
    names = {path.name for path in fresh.iterdir()}
    assert names == {path.name for path in COMMITTED.glob("*_pb2.py*")}
    stale = [name for name in names if (fresh / name).read_text() != (COMMITTED / name).read_text()]
    assert stale == [], "run scripts/generate.py"


def test_the_stubs_go_with_others_of_the_same_contracts(tmp_path: Path) -> None:
    """In one process: messages of the same names, from stubs as anybody generates them."""
    tools = "grpc_tools.protoc"
    protos = PACKAGE.parents[1] / "proto"
    names = ["legion/registry/v1/session.proto", "google/rpc/status.proto", "buf/validate/validate.proto"]
    depends = [f"legion/common/v1/{name}.proto" for name in ("cost", "execution_stats", "label", "outcome", "payload")]
    # In a folder of its own: `legion` is this package.
    arguments = [f"-I{protos}", f"--descriptor_set_out={tmp_path}/set.pb", "--include_imports", *names, *depends]
    subprocess.run([sys.executable, "-m", tools, *arguments], check=True)
    program = f"""
import legion
from google.protobuf import descriptor_pb2, descriptor_pool, duration_pb2, field_mask_pb2, timestamp_pb2, any_pb2
for file in descriptor_pb2.FileDescriptorSet.FromString(open({str(tmp_path / "set.pb")!r}, "rb").read()).file:
    if not file.name.startswith("google/protobuf/"):
        descriptor_pool.Default().AddSerializedFile(file.SerializeToString())
print(descriptor_pool.Default().FindMessageTypeByName("legion.registry.v1.Hello").file.name)
"""
    ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert ran.stdout.strip() == "legion/registry/v1/session.proto"
