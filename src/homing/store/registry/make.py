"""Which function makes which change."""

from typing import assert_never

from homing.store import changes
from homing.store.changes import Change
from homing.store.dialogue import Dialogue
from homing.store.registry import apps as of
from homing.store.registry import devices as device
from homing.store.registry import endpoints as endpoint
from homing.store.registry import jobs as job
from homing.store.registry import listeners as listener
from homing.store.registry.listeners import Ends


def make_change(change: Change, now_ms: int, ends: Ends) -> Dialogue[object]:
    """Do what a change says inside the caller's transaction; the dialogue comes to what its docstring promises."""
    match change:
        case changes.CreateApp():
            return of.create_app(change, now_ms)
        case changes.UpdateApp():
            return of.update_app(change)
        case changes.RotateAppSecret():
            return of.rotate_app_secret(change)
        case changes.DeleteApp():
            return of.delete_app(change, now_ms)
        case changes.CreateUser():
            return of.create_user(change, now_ms)
        case changes.UpdateUser():
            return of.update_user(change)
        case changes.DeleteUser():
            return of.delete_user(change)
        case changes.CreateEndpoint():
            return endpoint.create_endpoint(change, now_ms)
        case changes.UpdateEndpoint():
            return endpoint.update_endpoint(change)
        case changes.RotateEndpointSecret():
            return endpoint.rotate_secret(change)
        case changes.EnableEndpoint():
            return endpoint.enable_endpoint(change)
        case changes.SetEndpointHealth():
            return endpoint.set_health(change, now_ms)
        case changes.DisableEndpoint():
            return endpoint.disable_endpoint(change, now_ms)
        case changes.DeleteEndpoint():
            return endpoint.delete_endpoint(change, now_ms)
        case changes.OpenNotify():
            return endpoint.open_notify(change, now_ms)
        case changes.EndNotify():
            return endpoint.end_notify(change)
        case changes.TouchEndpoints():
            return endpoint.touch_endpoints(change)
        case changes.CreateJob():
            return job.create_job(change, now_ms)
        case changes.UpdateJob():
            return job.update_job(change, now_ms)
        case changes.OpenListener():
            return listener.open_listener(change, ends)
        case changes.MoveListener():
            return listener.move_listener(change, ends)
        case changes.DeleteListener():
            return listener.delete_listener(change)
        case changes.CreateToken():
            return of.create_token(change, now_ms)
        case changes.DeleteToken():
            return of.delete_token(change)
        case changes.SaveDevice():
            return device.save_device(change, now_ms)
        case changes.SetPushToken():
            return device.set_push_token(change)
        case changes.RetirePushToken():
            return device.retire_push_token(change)
        case changes.RemoveDevice():
            return device.remove_device(change)
        case changes.TouchDevices():
            return device.touch_devices(change)
        case _:
            assert_never(change)
