"""Key-value stores on the log, by name and dataset, with time to live and a cache policy."""

from .documents import KeyDocument, KeyPolicy, StoreDocument
from .engine_repo import EngineStoreRepo
from .repo import ExecutionStoreRepo
from .service import ExecutionStoreService
from .store import ExecutionStore
from .subscriptions import MessageData, MessageMetadata

__all__ = [
    "EngineStoreRepo",
    "ExecutionStore",
    "ExecutionStoreRepo",
    "ExecutionStoreService",
    "KeyDocument",
    "KeyPolicy",
    "MessageData",
    "MessageMetadata",
    "StoreDocument",
]
