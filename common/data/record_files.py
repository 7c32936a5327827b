"""Shards of examples, array_record or TFRecord, read without TensorFlow and with their checksums."""

import struct
from pathlib import Path

import numpy as np

from common.safe_read import one_line, read_bounded

MAX_SHARD_BYTES = 2**34
CRC32C_POLYNOMIAL = 0x82F63B78  # Castagnoli's, reflected
NUM_AT_ONCE = 2048  # records whose checksums are computed side by side


class DamagedShardError(ValueError):
    """The file is not what was written; the message says in what."""


def read_records(path: Path, file_format: str, *, num_expected: int) -> list[bytes]:
    """All records of a shard; another number of them than its dataset_info.json says, or a wrong checksum, raises."""
    try:
        records = _read_array_record(path) if file_format == "array_record" else _read_tfrecord(path)
    except (RuntimeError, OSError, ValueError) as error:
        raise DamagedShardError(f"{one_line(path.name)}: {one_line(error).split(';')[0]}") from None
    if len(records) != num_expected:
        raise DamagedShardError(f"{one_line(path.name)} holds {len(records)} records instead of {num_expected}")
    return records


def _read_array_record(path: Path) -> list[bytes]:
    from array_record.python.array_record_module import ArrayRecordReader

    if not path.is_file():  # it aborts the process
        raise FileNotFoundError("it is missing")
    reader = ArrayRecordReader(str(path))
    try:
        return reader.read_all() if reader.num_records() else []
    finally:
        reader.close()


def _read_tfrecord(path: Path) -> list[bytes]:
    """Each record: its length and that one's masked CRC-32C, its bytes and theirs."""
    content, records, sums, at = read_bounded(path, limit=MAX_SHARD_BYTES), [], [], 0
    lengths, length_sums = [], []
    while at < len(content):
        if at + 16 > len(content):
            raise ValueError("it is cut short")
        length, length_sum = struct.unpack_from("<QI", content, at)
        end = at + 12 + length
        if end + 4 > len(content):
            raise ValueError("it is cut short, or damaged")
        lengths.append(content[at : at + 8])
        length_sums.append(length_sum)
        records.append(content[at + 12 : end])
        sums.extend(struct.unpack_from("<I", content, end))
        at = end + 4
    if not (np.array_equal(masked_crc32c(lengths), length_sums) and np.array_equal(masked_crc32c(records), sums)):
        raise ValueError("a checksum is wrong: it is damaged")
    return records


def masked_crc32c(records: list[bytes]) -> np.ndarray:
    """The checksum that TFRecord keeps of each record, uint32 (N,); many at once, byte by byte."""
    table, result = _crc32c_table(), np.zeros(len(records), np.uint32)
    lengths = np.array([len(record) for record in records], np.int64)
    order = np.argsort(-lengths, kind="stable")  # so that those that end first stand last
    for start in range(0, len(order), NUM_AT_ONCE):
        chosen = order[start : start + NUM_AT_ONCE]
        longest = int(lengths[chosen[0]])
        columns = np.frombuffer(b"".join(records[index].ljust(longest, b"\0") for index in chosen), np.uint8)
        columns = np.ascontiguousarray(columns.reshape(len(chosen), longest).T)
        active = np.searchsorted(-lengths[chosen], -np.arange(longest), side="left")
        sums = np.full(len(chosen), 0xFFFFFFFF, np.uint32)
        for column, count in zip(columns, active, strict=True):
            head = sums[:count]
            sums[:count] = table[(head ^ column[:count]) & 0xFF] ^ (head >> np.uint32(8))
        result[chosen] = ~sums
    return (((result >> np.uint32(15)) | (result << np.uint32(17))) + np.uint32(0xA282EAD8)).astype(np.uint32)


def _crc32c_table() -> np.ndarray:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> np.uint32(1)) ^ np.uint32(CRC32C_POLYNOMIAL), table >> np.uint32(1))
    return table
