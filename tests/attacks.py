"""The attacker's hour: what gave way in an audit of 0.1.0, and the tests that attack it again.

These tests have the marker ``attack``: ``make test ARGS="-m attack"``. ``python tests/attacks.py``
prints the table of docs/threat-model.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).parent


@dataclass(frozen=True)
class Attack:
    """``tests``: files, or ``FILE::TEST`` without parameters, below this folder."""

    what: str
    tests: tuple[str, ...]


_INFERENCE = "integration/training/test_attackers_hour.py"
_REFUSALS = "integration/training/test_inference_refusals.py"
_CONNECTIONS = "integration/training/test_inference_connections.py"
_QUEUE = "integration/training/test_inference_queue.py"
_FLOWER = "acceptance/test_flower.py"
_FLOWER_ATTACKED = "acceptance/test_flower_attacked.py"
_READ = "unit/test_read_settings.py"
_SETTINGS = "unit/test_settings.py"
_DOCTOR = "integration/cli/test_doctor.py"
_MASK = "unit/test_mask_secrets.py"
_DRIFT = "integration/checks_drift/test_agreement.py"

ATTACKS = (
    Attack(
        "`kubectl delete -k`, or a GitOps tool that prunes, deletes checkpoints and secrets; a "
        "change of the backend changes what is fixed",
        ("integration/test_checks_data.py", "integration/test_checks_compose.py"),
    ),
    Attack(
        "an empty or short key opens inference; an empty setting, secret or folder means something",
        (
            f"{_READ}::test_every_setting_that_is_empty_counts_as_not_set",
            f"{_READ}::test_an_empty_variable_does_not_hide_what_a_file_says",
            f"{_READ}::test_a_required_setting_that_is_empty_is_named_with_its_place",
            f"{_READ}::test_an_empty_key_does_not_open_inference",
            f"{_READ}::test_an_empty_value_in_code_is_no_value",
            f"{_READ}::test_an_empty_name_of_a_folder_or_file_is_not_the_current_one",
            f"{_SETTINGS}::test_values_that_cannot_be_used_are_refused_without_being_repeated",
            f"{_DOCTOR}::test_an_empty_key_is_no_key_for_doctor",
        ),
    ),
    Attack(
        "a part of a password is printed, whatever its characters",
        (
            "unit/test_server_url.py",
            "unit/test_passwords_stay_hidden.py",
            f"{_SETTINGS}::test_no_secret_is_printed",
            f"{_SETTINGS}::test_not_even_pydantic_repeats_a_value",
            f"{_DOCTOR}::test_no_part_of_a_password_that_splits_its_url_is_shown",
            "integration/test_session.py::test_a_wrong_password_is_refused_without_repeating_it",
            f"{_MASK}::test_no_form_of_a_known_secret_is_left",
            f"{_MASK}::test_a_cut_text_says_so_and_never_ends_in_half_a_secret",
            "unit/test_log.py::test_no_planted_secret_reaches_a_line",
        ),
    ),
    Attack(
        "inference, gateway: a body without the key, of 500 MB and 5 GB; half-open connections, "
        "900 and 9,000 at a time; heads and nests without end",
        (
            f"{_INFERENCE}::test_a_body_of_any_size",
            f"{_INFERENCE}::test_half_open_connections_at_the_same_time",
            f"{_INFERENCE}::test_nests_of_garbage",
            f"{_INFERENCE}::test_heads_without_end",
            f"{_INFERENCE}::test_what_is_no_request_at_all",
            f"{_REFUSALS}::test_the_key_is_checked_before_a_byte_of_the_body_is_read",
            f"{_REFUSALS}::test_a_body_is_counted_however_it_comes",
            _CONNECTIONS,
        ),
    ),
    Attack(
        "inference, gateway, with the key: a prompt of 10 MB and 100 MB, many at once, requests "
        "that nobody waits for, a queue without a bound",
        (
            "integration/gateway/test_large_prompts.py",
            f"{_INFERENCE}::test_a_prompt_of_any_size",
            f"{_INFERENCE}::test_requests_that_nobody_waits_for",
            _QUEUE,
        ),
    ),
    Attack(
        "inference: errors that are not OpenAI's, a form of content that is refused, a parameter "
        "that is ignored in silence",
        (
            f"{_REFUSALS}::test_an_error_is_openais",
            f"{_REFUSALS}::test_what_is_not_http_is_refused_in_the_same_shape",
            "integration/training/test_inference.py::test_what_cannot_be_honoured_is_refused",
            "unit/training/test_chat_request.py",
        ),
    ),
    Attack(
        "an answer of gigabytes, of a judge or of W&B: an error, a redirect, a head, packed",
        ("integration/training/test_answers_without_end.py",),
    ),
    Attack(
        "metrics and probes: half-open connections, heads without end",
        ("integration/test_metrics_endpoint.py",),
    ),
    Attack(
        "a word of 2 MB, and of 20 MB, hangs the mask of secrets",
        (
            f"{_MASK}::test_a_long_word_is_masked_and_cut_and_hangs_nothing",
            f"{_MASK}::test_what_is_nested_without_end_is_left_out",
            f"{_MASK}::test_what_a_provider_may_answer_with_is_no_load",
        ),
    ),
    Attack(
        "escape sequences of the database's texts reach a terminal or a log",
        (
            "unit/test_plain_text.py",
            "integration/cli/test_hostile_text.py",
            "unit/test_log.py::test_an_event_of_the_data_cannot_write_lines_or_colours_of_its_own",
            "unit/test_log.py::test_a_traceback_keeps_its_lines_and_nothing_else_that_acts",
            "unit/test_log.py::test_a_line_of_json_is_the_same_document_without_a_control_character",
        ),
    ),
    Attack(
        "anything in a queue, in a command or in an event; a message of 60 MB and of 500 MB, a "
        "queue ten times as long, events of 50 MB and without end",
        (
            "acceptance/test_garbage.py",
            "unit/tasks/test_message_gate.py",
            "unit/tasks/test_foreign_messages.py",
            "integration/test_bounded_replies.py",
            f"{_FLOWER_ATTACKED}::test_events_of_any_size_and_depth",
        ),
    ),
    Attack(
        "Flower's memory: events of 5,000 invented workers, with fields and texts of any kind",
        (
            f"{_FLOWER_ATTACKED}::test_workers_of_invented_names",
            "unit/tasks/test_flower_bounded_state.py",
        ),
    ),
    Attack(
        "any bytes in Babylon's rows",
        (
            "unit/test_decode_anything.py",
            "integration/test_beside_babylon.py::"
            "test_a_window_id_that_is_no_hour_does_not_stop_the_look",
        ),
    ),
    Attack(
        "TLS that fails at the start, or verifies nothing unsaid; `sslaccept=strict` is dropped; "
        "no place for an authority",
        (
            "integration/test_tls_redis.py",
            "integration/test_tls_postgres.py",
            "unit/test_redis_parameters.py",
            "unit/test_postgres_parameters.py",
            "integration/cli/test_doctor_tls.py",
            "integration/typescript/test_tls.py",
            "acceptance/test_tls.py",
        ),
    ),
    Attack(
        "Flower: guesses at its login, 254 a second and 2,500 in a row; an address of Postgres; "
        "pages without a login",
        (
            f"{_FLOWER}::test_flower_shows_nothing_without_its_login_not_even_metrics",
            f"{_FLOWER}::test_guesses_at_the_login_are_logged_and_then_answered_unseen",
            f"{_FLOWER}::test_flower_has_no_way_to_postgres",
            f"{_FLOWER}::test_a_worker_cannot_be_stopped_from_the_web",
            f"{_FLOWER}::test_flower_without_a_login_does_not_start",
            f"{_FLOWER}::test_flower_behind_oauth_sends_everybody_to_the_provider",
            f"{_FLOWER}::test_a_secret_that_an_error_repeats_is_in_nothing_that_flower_says",
            f"{_FLOWER_ATTACKED}::test_guesses_by_the_thousand_are_answered_unseen",
            "unit/http_server/test_logins.py",
            "unit/test_processes.py::test_only_flower_is_given_its_login",
            "unit/test_processes.py::test_flower_and_nobody_else_is_given_no_way_to_postgres",
        ),
    ),
    Attack(
        "dashboard: guesses at its login; texts of others that would act in a page; a write; a "
        "question to Postgres without end",
        (
            "integration/dashboard/test_login.py",
            "integration/dashboard/test_pages.py",
            "integration/dashboard/test_things.py",
        ),
    ),
    Attack(
        "Flower, without its login: bodies of 100 MB, kept in memory; heads without end; half-open "
        "connections",
        (f"{_FLOWER_ATTACKED}::test_bodies_heads_and_connections_of_any_size_without_the_login",),
    ),
    Attack(
        "`migrate --sql` locks the role out; a role has rights to spare",
        (
            "integration/test_rights.py",
            "integration/test_credentials.py::"
            "test_keda_gets_a_role_of_its_own_that_counts_windows_and_no_more",
        ),
    ),
    Attack(
        "a file `.env` of the current folder is trusted; a policy cannot be narrowed",
        (
            f"{_READ}::test_the_file_env_of_the_current_folder_is_refused_until_it_is_named",
            "integration/training/test_supervisor.py::"
            "test_a_dotenv_file_does_not_bring_the_secrets_back",
            f"{_DRIFT}::test_no_address_range_is_open_before_the_operator_opens_it",
            "integration/test_checks_manifests.py::"
            "test_the_narrow_policies_that_the_readme_shows_fit_the_pods",
        ),
    ),
    Attack(
        "a variable of Celery's own overrides the settings",
        (
            "integration/test_celery_variables.py",
            f"{_READ}::test_a_variable_that_celery_would_obey_is_refused_by_name",
        ),
    ),
    Attack(
        "a disk that fills: checkpoints, rows, temporary folders",
        (
            "integration/prune_checkpoints/test_beside_training.py",
            "integration/prune_checkpoints/test_files.py",
            "integration/prune_checkpoints/test_what_stays.py",
            "integration/test_prune_rows.py",
            "integration/cli/test_prune.py",
            "integration/test_owned_folder.py",
        ),
    ),
    Attack(
        "a name that becomes a path, or part of a statement",
        (
            f"{_SETTINGS}::test_a_name_that_becomes_a_path_is_a_plain_name",
            f"{_SETTINGS}::test_a_schema_that_is_no_plain_name_is_refused",
            "integration/cli/test_hostile_text.py::"
            "test_an_argument_with_control_characters_is_refused_and_shown_escaped",
        ),
    ),
    Attack(
        "a deployment without a way to its base model, or with a secret that is not made",
        (
            "integration/test_seed.py",
            "integration/test_credentials.py::test_every_secret_that_compose_mounts_is_made",
            f"{_DRIFT}::test_the_base_model_is_put_where_the_trainer_looks_for_it",
            f"{_DRIFT}::test_a_secret_that_the_example_forgets_is_refused",
        ),
    ),
    Attack(
        "a misspelt variable, or a scorer that there is not, is not noticed",
        (
            f"{_READ}::test_a_misspelt_name_is_named_with_the_nearest_right_one",
            f"{_READ}::test_a_name_that_resembles_nothing_is_named_all_the_same",
            f"{_READ}::test_a_secrets_file_of_a_usual_name_is_named_when_it_is_misspelt",
            f"{_DOCTOR}::test_doctor_names_a_misspelt_setting_and_the_log_of_a_command_does",
            f"{_DOCTOR}::test_doctor_reports_a_scorer_that_does_not_exist",
        ),
    ),
    Attack(
        "a package that changed, or that an advisory names",
        ("integration/test_checks_supply.py",),
    ),
    Attack(
        "a secret in an argument, an environment, a message or a result",
        (
            "unit/test_processes.py::test_no_secret_is_an_argument",
            "integration/training/test_supervisor.py::"
            "test_no_secret_is_in_the_trainers_environment_arguments_or_log",
            "integration/test_tasks.py::test_no_secret_travels_in_a_message",
            "integration/test_tasks.py::"
            "test_no_secret_leaves_a_worker_in_what_its_task_returns_or_raises",
            "integration/test_servers.py::test_no_password_shows_in_the_process_list",
        ),
    ),
    Attack(
        "a secret in the reason of a failure, which is stored and shown by pages",
        ("integration/test_secrets_on_record.py",),
    ),
)

ATTACKED = frozenset(test for attack in ATTACKS for test in attack.tests)


def attacks(path: Path, name: str) -> bool:
    """Whether a test, by its file and its name without parameters, is one of these."""
    file = path.relative_to(TESTS).as_posix()
    return file in ATTACKED or f"{file}::{name}" in ATTACKED


def table() -> Iterator[str]:
    """The lines of the table in docs/threat-model.md."""
    yield "| what gave way, or could | files of `tests/` that attack it |"
    yield "|---|---|"
    for attack in ATTACKS:
        files = dict.fromkeys(test.partition("::")[0] for test in attack.tests)
        yield f"| {attack.what} | {', '.join(f'`{file}`' for file in files)} |"


if __name__ == "__main__":
    print("\n".join(table()))
