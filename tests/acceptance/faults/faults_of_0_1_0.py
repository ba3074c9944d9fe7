"""The faults that an audit of 0.1.0 produced, and the cells and tests that produce each now.

Its kinds are numbered as in the audit. ``docs/reliability.md`` shows the table.
"""

from __future__ import annotations

# A cell by its name, or the beginning of its name for all of that beginning; else FILE::TEST,
# below tests/.
PLAYED: dict[str, tuple[str, ...]] = {
    "S1-1 A connection to Postgres is half-open": (
        "postgres_connections_dead-",
        "acceptance/faults/test_probes.py"
        "::test_a_worker_without_its_trainer_is_not_ready_though_its_connections_are_half_open",
    ),
    "S1-2 A row was scored in another hour before": (
        "integration/test_parts_of_windows.py"
        "::test_what_was_scored_in_two_hours_is_used_in_the_one_that_it_belongs_to",
        "integration/test_reconcile.py"
        "::test_a_row_whose_window_is_corrected_to_one_already_scored_gets_its_reason",
    ),
    "S1-3 Rows are rewritten between scoring and planning": (
        "integration/test_planning_changed_rows.py"
        "::test_a_row_that_was_rewritten_is_left_out_and_its_hour_is_to_be_scored_anew",
        "integration/test_parts_of_windows.py"
        "::test_a_rewritten_row_is_scored_anew_and_taken_with_the_reward_of_what_it_says_now",
    ),
    "S1-4 An hour comes in two parts, with its old `createdAt`": (
        "integration/test_rows_of_an_hour.py"
        "::test_an_import_in_parts_is_not_sealed_between_them_whatever_its_createdat",
        "integration/test_reconcile.py"
        "::test_a_row_that_was_written_before_the_seal_and_committed_after_it_is_late",
        "rows_late-",
    ),
    "S1-5 Two lineages learn from one database": (
        "two lineages-",
        "integration/two_lineages/test_training.py"
        "::test_hours_played_in_turn_are_trained_by_whom_they_are_of_use_to",
    ),
    "S1-6 Files of a checkpoint are changed, or of another history": (
        "weights_damaged-",
        "integration/training/test_what_lies_on_disk.py"
        "::test_a_folder_of_another_history_is_refused_although_it_is_whole",
    ),
    "S2-1 Postgres ends connections again and again": ("postgres_connections_ended_again-",),
    "S2-1 A disk is full": (
        "data_folder_full-",
        "evaluating-data_folder_full-",
        "small disk-postgres_disk_full-",
        "small disk-postgres_ended_by_its_disk-",
    ),
    "S2-1 The adapter is truncated": ("weights_cut_under_a_restart-",),
    "S2-1 A newer migration has renamed a column": ("column_renamed-",),
    "S2-2 Clocks are wrong": (
        "clock_ahead-",
        "clock_behind-",
        "acceptance/test_clocks.py::test_workers_whose_clock_is_wrong_work_as_any_other",
    ),
    "S2-3 Redis refuses writes": (
        "redis_full-",
        "redis_read_only-",
        "acceptance/test_redis_refuses.py::test_the_same_processes_go_on_when_it_is_over",
    ),
    "S2-4 Messages of no shape come back": (
        "garbage_sent-",
        "acceptance/test_garbage.py::test_any_garbage_is_refused_once_and_the_worker_goes_on",
        "acceptance/test_garbage.py::test_garbage_reaches_neither_the_trainer_nor_the_next_start",
        "acceptance/test_garbage.py::test_orders_in_a_good_message_are_not_followed",
    ),
    "S2-5 The serving adapter is truncated before a restart, or `step.json`": (
        "weights_cut_under_a_restart-",
        "record_torn_under_a_restart-",
    ),
    "S2-5 The newest checkpoint is gone": (
        "weights_missing-",
        "integration/data_folder/test_damaged_checkpoints.py"
        "::test_without_a_whole_one_the_base_model_serves_and_what_was_rolled_back_does_not",
    ),
    "S2-6 A second GPU worker has no trainer": (
        "gpu_worker_added-",
        "evaluating-gpu_worker_added-",
        "integration/data_folder/test_impossible_evaluations.py"
        "::test_a_worker_without_the_trainer_decides_nothing_about_a_checkpoint",
    ),
    "S2-7 The data folder is deleted and made anew": (
        "data_folder_made_anew-",
        "data_folder_made_anew_beside_another-",
        "integration/training/test_what_lies_on_disk.py"
        "::test_a_folder_that_was_made_anew_ends_its_former_trainer",
    ),
    "S3 A backlog outlasts the age that answers may have": (
        "integration/test_backlog.py"
        "::test_what_is_too_old_once_its_turn_comes_is_skipped_and_each_of_it_is_named",
    ),
    "S3 A worker without the trainer, or with another data folder, takes a message": (
        "gpu_worker_added-",
        "integration/data_folder/test_whose_folder.py"
        "::test_another_folder_is_refused_and_changes_nothing",
    ),
    "S3 A step fails each time": (
        "integration/test_whose_fault.py"
        "::test_a_window_is_trained_as_often_as_it_may_be_and_no_more",
    ),
    "Held: a process is stopped for a while": ("cpu_worker_stopped-", "gpu_worker_stopped-"),
    "Held: three beats at once": ("beats_added-",),
    "Held: Postgres is stopped, or cut off": (
        "postgres_killed-",
        "postgres_restarted-",
        "postgres_frozen-",
        "postgres_connections_reset-",
    ),
    "Held: Redis is stopped, or comes back empty": ("redis_frozen-", "redis_killed-"),
    "Held: FLUSHALL, once and each 0.3 s": ("redis_emptied-", "redis_emptied_again-"),
    "Held: Redis's password is rotated": (
        "acceptance/test_redis_refuses.py::test_the_same_processes_go_on_when_it_is_over",
    ),
    "Held: rows are deleted or rewritten in a step": (
        "integration/test_training_recovery.py"
        "::test_a_step_whose_data_changed_is_failed_and_planned_anew",
    ),
    "Held: SIGTERM in a step, three times": (
        "gpu_worker_terminated-",
        "integration/test_training_recovery.py"
        "::test_an_interruption_is_not_held_against_the_window",
    ),
    "Postgres is behind a pooler": (
        "pooled-",
        "integration/pooler/test_behind_a_pooler.py::test_four_recorders_at_once_lose_nothing",
        "integration/pooler/test_behind_a_pooler.py"
        "::test_the_schema_is_honoured_by_migrations_recorders_and_doctor",
        "integration/pooler/test_unnamed_pooler.py"
        "::test_without_pgbouncer_true_the_error_says_to_add_it",
    ),
}
