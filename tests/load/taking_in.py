from tests.load.bench_server import BenchServer
from tests.load.measuring import Line
async def intake_lines(server: BenchServer) -> list[Line]:
    return []
async def large_extract_lines(server: BenchServer) -> list[Line]:
    return []
