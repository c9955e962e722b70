"""A file system in memory. Those that imitate real servers are made of it."""

from fsspec.implementations.memory import MemoryFileSystem


class Memory(MemoryFileSystem):
    """fsspec's, which takes the URLs of any protocol."""

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path.rpartition("://")[2])
