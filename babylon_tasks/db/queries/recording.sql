-- part: columns
-- The columns of a trajectory that both contracts have.
id, "trajectoryId", "agentId", "startTime", "endTime", "durationMs", "windowId", "windowHours",
"episodeId", "scenarioId", "batchId", "stepsJson", "rewardComponentsJson", "metricsJson",
"metadataJson", "totalReward", "episodeLength", "finalStatus", "finalBalance", "finalPnL",
"tradesExecuted", "postsCreated", "isTrainingData", "isEvaluation"

-- part: values
-- Their values, in the same order.
%(id)s, %(trajectory_id)s, %(agent_id)s, %(start_time)s, %(end_time)s, %(duration_ms)s,
%(window)s, 1, %(episode_id)s, %(scenario_id)s, %(batch_id)s, %(steps)s, %(reward_components)s,
%(metrics)s, %(metadata)s, %(total_reward)s, %(episode_length)s, %(final_status)s,
%(final_balance)s, %(final_pnl)s, %(trades_executed)s, %(posts_created)s, %(is_training_data)s,
%(is_evaluation)s

-- name: insert_trajectory
-- Insert a finished trajectory; repeated after an unclear commit, it changes nothing.
INSERT INTO trajectories ({{recording.columns}}, "updatedAt")
VALUES ({{recording.values}}, now() AT TIME ZONE 'UTC')
ON CONFLICT ("trajectoryId") DO NOTHING

-- name: insert_trajectory_with_archetype
-- The same for a schema with archetypes.
INSERT INTO trajectories ({{recording.columns}}, "updatedAt", archetype)
VALUES ({{recording.values}}, now() AT TIME ZONE 'UTC', %(archetype)s)
ON CONFLICT ("trajectoryId") DO NOTHING

-- name: insert_call
-- Insert one of its LLM calls, for readers of calls that do not unpack steps.
INSERT INTO llm_call_logs (
    id, "trajectoryId", "stepId", "callId", timestamp, "latencyMs", model, purpose, "actionType",
    "systemPrompt", "userPrompt", "messagesJson", response, reasoning, temperature, "maxTokens",
    "topP", "promptTokens", "completionTokens", "totalTokens", metadata)
VALUES (
    %(id)s, %(trajectory_id)s, %(step_id)s, %(call_id)s, %(timestamp)s, %(latency_ms)s, %(model)s,
    %(purpose)s, %(action_type)s, %(system_prompt)s, %(user_prompt)s, %(messages)s, %(response)s,
    %(reasoning)s, %(temperature)s, %(max_tokens)s, %(top_p)s, %(prompt_tokens)s,
    %(completion_tokens)s, %(total_tokens)s, %(metadata)s)
ON CONFLICT ("callId") DO NOTHING

-- name: knows_archetypes
-- Whether trajectories have an archetype here: in today's contract, not in 7a46248b's.
SELECT EXISTS (
    SELECT FROM pg_attribute
    WHERE attrelid = to_regclass('trajectories') AND attname = 'archetype' AND NOT attisdropped
)
