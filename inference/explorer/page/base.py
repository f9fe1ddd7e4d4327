"""Shared by the page's sections: the session, and how errors are shown."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
import viser
from jaxtyping import Float
from torch import Tensor
from viser import transforms

from anchorweave.geometry.cameras import Cameras
from inference.explorer.frusta import field_of_view, quaternion_of
from inference.explorer.mistakes import told_of
from inference.explorer.networks import Networks
from inference.explorer.scene import Scene
from inference.explorer.session import Session

RED, GREEN = (220, 60, 60), (60, 170, 90)
SECONDS_SHOWN, SECONDS_WRONG = 5.0, 12.0


class Shared:
    """Objects shared by all sections.

    Args:
        server: the page's server.
        session: the exploration shown.
        networks: the networks.
        scene: the scene that all browsers see.

    Attributes:
        walker: id of the browser in walk mode, whose moving view extends the path.
    """

    def __init__(
        self, server: viser.ViserServer, session: Session, networks: Networks, scene: Scene
    ):
        self.server, self.session, self.networks, self.scene = server, session, networks, scene
        self.walker: int | None = None
        self.refreshing = threading.RLock()

    def tell(self, title: str, body: str, wrong: bool = False, client: Any = None) -> None:
        """Shows a notification: in one browser, or in all."""
        clients = [client] if client is not None else self.server.get_clients().values()
        for each in clients:
            each.add_notification(
                title,
                body,
                color=RED if wrong else GREEN,
                auto_close_seconds=SECONDS_WRONG if wrong else SECONDS_SHOWN,
            )

    def guarded(self, title: str, act: Callable[[Any], None]) -> Callable[[Any], None]:
        """Wraps an event handler; errors are shown in the browser that the event came from.

        Args:
            title: name of the action.
            act: takes the event.
        """

        @wraps(act)
        def acted(event: Any) -> None:
            try:
                act(event)
            except Exception as error:
                self.tell(title, told_of(error), wrong=True, client=event.client)

        return acted

    def button(self, label: str, act: Callable[[Any], None], **looks: Any) -> Any:
        """A button of the page.

        Args:
            label: its label, which also names the action in messages.
            act: takes the event.
            **looks: appearance, for viser.
        """
        button = self.server.gui.add_button(label, **looks)
        button.on_click(self.guarded(label, act))
        return button


class Section(ABC):
    """A part of the page: created once, in the currently open container, and refreshed."""

    @abstractmethod
    def refresh(self, memory: bool) -> None:
        """Shows the session's state; `memory` says whether the memory changed."""


def view_of(client: viser.ClientHandle) -> Float[Tensor, "4 4"]:
    """The pose of a browser's view, c2w."""
    c2w = torch.eye(4)
    rotation = transforms.SO3(client.camera.wxyz).as_matrix()
    c2w[:3, :3] = torch.from_numpy(rotation).float()
    c2w[:3, 3] = torch.from_numpy(client.camera.position).float()
    return c2w


def look_through(client: viser.ClientHandle, camera: Cameras) -> None:
    """Moves a browser's view to one camera [4, 4], with its field of view."""
    with client.atomic():
        client.camera.position = camera.c2w[:3, 3].double().numpy()
        client.camera.wxyz = quaternion_of(camera.c2w)
        client.camera.fov = field_of_view(camera)
