"""What `cloud_admin` does for which options: v1's order of evaluation and texts (PARITY 4.3), and ours after them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Case:
    """What `action` does when the options in `needs` are given too: a request, or just a line to say.

    `request` is method, path and fields, of which those are sent whose option is given; `document` is the option that
    names the file of a JSON body, which may name the cloud. `before` and `after` are printed around the answer, `after`
    only when the verb is done; `silent` prints the answer only when it is not; `replies` are printed for the answers
    `True` and anything else. `{option}` stands for an option's value, `{url}` for the request's URL.
    """

    action: str
    needs: str
    request: str = ""
    log: str = ""
    say: str = ""
    before: str = ""
    after: str = ""
    silent: bool = False
    document: str = ""
    replies: tuple[str, str] | None = None


_VMS, _VM = "PUT /clouds/{cloud}/vms", "PUT /clouds/{cloud}/vms/{vm_id}"
_VM_PROXIES, _JOB_PROXIES = "Refreshing VM proxies for user {user}.", "Refreshing Job proxies for user {user}."

CASES = (
    Case("kill_vm", "cloud vm_id", f"{_VM} action=shutdown", "Shutting down VM: {vm_id} on: {cloud}"),
    Case(
        "kill_vm",
        "cloud all",
        f"{_VMS} action=shutdown count=all retain={{retain}}",
        "Shutting down all VMs on cloud: {cloud}",
    ),
    Case(
        "kill_vm",
        "cloud number",
        f"{_VMS} action=shutdown count={{number}} retain={{retain}}",
        "Shutting down {number} VMs on cloud: {cloud}",
    ),
    Case(
        "kill_vm",
        "cloud retain",
        f"{_VMS} action=shutdown retain={{retain}}",
        "Shutting down all VMs but {retain} on cloud: {cloud}",
    ),
    Case(
        "kill_vm",
        "cloud",
        say="Must provide a -n [VM ID], -a to kill all VMs, or -b [count] to kill a set number on cloud.",
    ),
    Case("kill_vm", "", say="Must Provide the cloud name to kill VMs on and the VM ID, count, or all flag."),
    Case("remove", "cloud vm_id", f"{_VM} action=remove", "Removing VM entry: {vm_id} on: {cloud}"),
    Case(
        "remove",
        "cloud all",
        f"{_VMS} action=remove count=all",
        "Removing all VM entries from Cloud Scheduler on cloud: {cloud}",
        before="{url}",
    ),
    Case("remove", "cloud", say="Must provide a -n [VM ID] or -a to remove all VMs on this cloud."),
    Case("remove", "", say="Must Provide the cloud name to remove VMs on and the VM ID or all flag."),
    Case("force_retire", "cloud vm_id", f"{_VM} action=force_retire", "Force retiring VM: {vm_id} on cloud: {cloud}"),
    Case(
        "force_retire",
        "cloud all",
        f"{_VMS} action=force_retire count=all retain={{retain}}",
        "Force retiring all VMs on: {cloud}",
    ),
    Case(
        "force_retire",
        "cloud number",
        f"{_VMS} action=force_retire count={{number}} retain={{retain}}",
        "Force retiring {number} VMs, on cloud: {cloud}",
    ),
    Case(
        "force_retire",
        "cloud retain",
        f"{_VMS} action=force_retire retain={{retain}}",
        "Force retiring all VMs but {retain}, on cloud: {cloud}",
    ),
    Case(
        "force_retire",
        "cloud",
        say="Must provide a -n [VM ID], -a (all), or -b [count] to force retire all or some VMs on this cloud.",
    ),
    Case(
        "force_retire", "", say="Must Provide the cloud name to force retire VMs on and the VM ID, all or count flag."
    ),
    Case(
        "reset_vm_state",
        "cloud vm_id",
        f"{_VM} action=reset_override_state",
        "Reset state of vm: {vm_id} on cloud: {cloud}",
    ),
    Case("reset_vm_state", "cloud", say="Must provide -n [VM ID] to reset state of VM."),
    Case("reset_vm_state", "", say="Must provide the cloud name and VM ID to reset override state on."),
    Case("enable", "", "PUT /clouds/{enable} action=enable until={until}", "Cloud: {enable} enabled."),
    Case("disable", "", "PUT /clouds/{disable} action=disable until={until}", "Cloud: {disable} disabled."),
    Case("reconfig", "", say="Reconfig Disabled - use 'quickrestart'"),
    Case(
        "reload_limits",
        "",
        "POST /user-limits",
        "Reloaded the user limits file.",
        replies=("User-Limit file reloaded.", "No Limits set - list empty or problem parsing file."),
    ),
    Case("list_limits", "", "GET /user-limits", "Listed the user limits."),
    Case(
        "reload_target_alias",
        "",
        "POST /cloud-aliases",
        "Reloaded the target cloud alias file.",
        replies=(
            "Target Cloud Alias file reloaded.",
            "Failed to load alias file - check json format, path, or permissions.",
        ),
    ),
    Case("list_alias", "", "GET /cloud-aliases", "Listed the target cloud aliases."),
    Case("log_level", "", "PUT / log_level={log_level}", "Changed logging level to: {log_level}"),
    Case(
        "refresh_proxy",
        "user refresh_proxy=vm",
        "POST /users/{user} refresh=vm_proxy",
        _VM_PROXIES,
        before=_VM_PROXIES,
        silent=True,
    ),
    Case(
        "refresh_proxy",
        "user refresh_proxy=job",
        "POST /users/{user} refresh=job_proxy",
        _JOB_PROXIES,
        before=_JOB_PROXIES,
        silent=True,
    ),
    Case("refresh_proxy", "", say="Must Specify a user with -u or --user."),
    Case(
        "quick_exit",
        "",
        "POST / action=quick_shutdown",
        "Toggled quick shutdown flag.",
        after="Toggled Quick shutdown flag.",
    ),
    Case(
        "vm_allocation",
        "cloud",
        "PUT /clouds/{cloud} allocations={vm_allocation}",
        "Attempting to adjust vm allocation on {cloud}. Target: {vm_allocation}",
        before="Adjusting vm_slots on {cloud} to {vm_allocation}",
    ),
    Case("vm_allocation", "", say="Change vm slot of cloud need '-c cloudname' for cloud to change allocation of"),
    Case("cloud_put", "", "PUT /clouds/{cloud}", "Defined cloud: {cloud}", document="cloud_put"),
    Case(
        "cloud_patch", "", "PATCH /clouds/{cloud}", "Changed the definition of cloud: {cloud}", document="cloud_patch"
    ),
    Case("cloud_delete", "", "DELETE /clouds/{cloud_delete}", "Deleting cloud: {cloud_delete}"),
    Case(
        "token_create",
        "",
        "POST /tokens role={token_create} clouds={token_clouds} users={token_users} days={token_days} "
        "description={token_description}",
        "Made a token with the role {token_create}.",
    ),
    Case(
        "journal",
        "cloud vm_id",
        "GET /clouds/{cloud}/vms/{vm_id}/journal limit={number}",
        "Showed the journal of VM: {vm_id} on: {cloud}",
    ),
    Case("journal", "cloud", "GET /clouds/{cloud}/journal limit={number}", "Showed the journal of cloud: {cloud}"),
    Case("journal", "user", "GET /users/{user}/journal limit={number}", "Showed the journal of user: {user}"),
    Case("journal", "", "GET /journal limit={number}", "Showed the journal."),
    Case(
        "operations",
        "",
        "GET /operations cloud={cloud} user={user} name={vm_id} state={state} limit={number}",
        "Listed the operations.",
    ),
    Case("operation", "", "GET /operations/{operation}", "Showed operation {operation}."),
    Case("undo", "", "POST /operations/{undo}/undo partial={partial}", "Undid operation {undo}."),
    Case("token_list", "", "GET /tokens cloud={cloud} user={user}", "Listed the tokens."),
    Case("token_revoke", "", "DELETE /tokens/{token_revoke}", "Revoked the token {token_revoke}."),
)
"""The first case of the first action that is given is carried out: their order is v1's order of evaluation."""

ENFORCED = frozenset(
    {
        "kill_vm",
        "remove",
        "force_retire",
        "reset_vm_state",
        "reload_limits",
        "reload_target_alias",
        "log_level",
        "refresh_proxy",
        "quick_exit",
        "vm_allocation",
        "cloud_put",
        "cloud_patch",
        "cloud_delete",
        "token_create",
        "token_revoke",
        "undo",
    }
)
"""The actions for which `admin_log_comments` demands a comment."""

NOTHING = Case("", "", say="Run cloud_admin -h for help.")
NO_COMMENT = "Admin comments being enforced. Please use -C 'reason for command' when performing this option."
