"""The composition root: the only room that knows which adapter is used, and the order in which things start and stop.

No decision about messages is taken here; it only plugs the parts together. What lies at the far ends (push services,
carriers, a simulator's page) is handed in as `Ends`.
"""

from homing.node.ends import Ends
from homing.node.running import Node

__all__ = ["Ends", "Node"]
