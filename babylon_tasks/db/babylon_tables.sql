-- Babylon's own tables, as Babylon's Drizzle schema creates them today (28f223d6), for a stand-alone
-- database: `babylon-tasks migrate --create-babylon-tables`, and only if none of them exists.
CREATE TABLE trajectories (
    id                     text             NOT NULL,
    "trajectoryId"         text             NOT NULL,
    "agentId"              text             NOT NULL,
    archetype              varchar(50),
    "startTime"            timestamp        NOT NULL,
    "endTime"              timestamp        NOT NULL,
    "durationMs"           integer          NOT NULL,
    "windowId"             varchar(50),
    "windowHours"          integer          NOT NULL DEFAULT 1,
    "episodeId"            varchar(100),
    "scenarioId"           varchar(100),
    "batchId"              varchar(100),
    "stepsJson"            text             NOT NULL,
    "rewardComponentsJson" text             NOT NULL,
    "metricsJson"          text             NOT NULL,
    "metadataJson"         text             NOT NULL,
    "totalReward"          double precision NOT NULL,
    "episodeLength"        integer          NOT NULL,
    "finalStatus"          text             NOT NULL,
    "finalBalance"         double precision,
    "finalPnL"             double precision,
    "tradesExecuted"       integer,
    "postsCreated"         integer,
    "aiJudgeReward"        double precision,
    "aiJudgeReasoning"     text,
    "judgedAt"             timestamp,
    "isTrainingData"       boolean          NOT NULL DEFAULT true,
    "isEvaluation"         boolean          NOT NULL DEFAULT false,
    "usedInTraining"       boolean          NOT NULL DEFAULT false,
    "trainedInBatch"       text,
    "createdAt"            timestamp        NOT NULL DEFAULT now(),
    "updatedAt"            timestamp        NOT NULL,
    CONSTRAINT trajectories_pkey PRIMARY KEY (id),
    CONSTRAINT "trajectories_trajectoryId_unique" UNIQUE ("trajectoryId")
);
CREATE INDEX "trajectories_agentId_startTime_idx" ON trajectories ("agentId", "startTime");
CREATE INDEX "trajectories_aiJudgeReward_idx" ON trajectories ("aiJudgeReward");
CREATE INDEX trajectories_archetype_idx ON trajectories (archetype);
CREATE INDEX "trajectories_isTrainingData_usedInTraining_idx"
    ON trajectories ("isTrainingData", "usedInTraining");
CREATE INDEX "trajectories_scenarioId_createdAt_idx" ON trajectories ("scenarioId", "createdAt");
CREATE INDEX "trajectories_trainedInBatch_idx" ON trajectories ("trainedInBatch");
CREATE INDEX "trajectories_windowId_agentId_idx" ON trajectories ("windowId", "agentId");
CREATE INDEX "trajectories_windowId_idx" ON trajectories ("windowId");

CREATE TABLE llm_call_logs (
    id                 text             NOT NULL,
    "trajectoryId"     text             NOT NULL,
    "stepId"           text             NOT NULL,
    "callId"           text             NOT NULL,
    timestamp          timestamp        NOT NULL,
    "latencyMs"        integer,
    model              text             NOT NULL,
    purpose            text             NOT NULL,
    "actionType"       text,
    "systemPrompt"     text             NOT NULL,
    "userPrompt"       text             NOT NULL,
    "messagesJson"     text,
    response           text             NOT NULL,
    reasoning          text,
    temperature        double precision NOT NULL,
    "maxTokens"        integer          NOT NULL,
    "topP"             double precision,
    "promptTokens"     integer,
    "completionTokens" integer,
    "totalTokens"      integer,
    metadata           text,
    "createdAt"        timestamp        NOT NULL DEFAULT now(),
    CONSTRAINT llm_call_logs_pkey PRIMARY KEY (id),
    CONSTRAINT "llm_call_logs_callId_unique" UNIQUE ("callId")
);
CREATE INDEX "llm_call_logs_callId_idx" ON llm_call_logs ("callId");
CREATE INDEX "llm_call_logs_createdAt_idx" ON llm_call_logs ("createdAt");
CREATE INDEX llm_call_logs_timestamp_idx ON llm_call_logs (timestamp);
CREATE INDEX "llm_call_logs_trajectoryId_idx" ON llm_call_logs ("trajectoryId");

CREATE TABLE market_outcomes (
    id                   text        NOT NULL,
    "windowId"           varchar(50) NOT NULL,
    "stockTicker"        varchar(20),
    "startPrice"         numeric(10, 2),
    "endPrice"           numeric(10, 2),
    "changePercent"      numeric(5, 2),
    sentiment            varchar(20),
    "newsEvents"         json,
    "predictionMarketId" text,
    question             text,
    outcome              varchar(20),
    "finalProbability"   numeric(5, 4),
    volume               numeric(15, 2),
    "createdAt"          timestamp   NOT NULL DEFAULT now(),
    CONSTRAINT market_outcomes_pkey PRIMARY KEY (id)
);
CREATE INDEX "market_outcomes_windowId_idx" ON market_outcomes ("windowId");
CREATE INDEX "market_outcomes_windowId_stockTicker_idx"
    ON market_outcomes ("windowId", "stockTicker");

CREATE TABLE trained_models (
    id                text      NOT NULL,
    "modelId"         text      NOT NULL,
    version           text      NOT NULL,
    "baseModel"       text      NOT NULL,
    "trainingBatch"   text,
    status            text      NOT NULL DEFAULT 'training',
    "deployedAt"      timestamp,
    "archivedAt"      timestamp,
    "storagePath"     text      NOT NULL,
    "benchmarkScore"  double precision,
    accuracy          double precision,
    "avgReward"       double precision,
    "evalMetrics"     json,
    "wandbRunId"      text,
    "wandbArtifactId" text,
    "huggingFaceRepo" text,
    "agentsUsing"     integer   NOT NULL DEFAULT 0,
    "totalInferences" integer   NOT NULL DEFAULT 0,
    "lastBenchmarked" timestamp,
    "benchmarkCount"  integer   NOT NULL DEFAULT 0,
    "createdAt"       timestamp NOT NULL DEFAULT now(),
    "updatedAt"       timestamp NOT NULL,
    CONSTRAINT trained_models_pkey PRIMARY KEY (id),
    CONSTRAINT "trained_models_modelId_unique" UNIQUE ("modelId")
);
CREATE INDEX "trained_models_deployedAt_idx" ON trained_models ("deployedAt");
CREATE INDEX "trained_models_lastBenchmarked_idx" ON trained_models ("lastBenchmarked");
CREATE INDEX trained_models_status_idx ON trained_models (status);
CREATE INDEX trained_models_version_idx ON trained_models (version);

CREATE TABLE training_batches (
    id                  text      NOT NULL,
    "batchId"           text      NOT NULL,
    "scenarioId"        text,
    "baseModel"         text      NOT NULL,
    "modelVersion"      text      NOT NULL,
    "trajectoryIds"     text      NOT NULL,
    "rankingsJson"      text,
    "rewardsJson"       text      NOT NULL,
    "trainingLoss"      double precision,
    "policyImprovement" double precision,
    status              text      NOT NULL DEFAULT 'pending',
    error               text,
    "createdAt"         timestamp NOT NULL DEFAULT now(),
    "startedAt"         timestamp,
    "completedAt"       timestamp,
    CONSTRAINT training_batches_pkey PRIMARY KEY (id),
    CONSTRAINT "training_batches_batchId_unique" UNIQUE ("batchId")
);
CREATE INDEX "training_batches_scenarioId_idx" ON training_batches ("scenarioId");
CREATE INDEX "training_batches_status_createdAt_idx" ON training_batches (status, "createdAt");

CREATE TABLE reward_judgments (
    id                    text             NOT NULL,
    "trajectoryId"        text             NOT NULL,
    "judgeModel"          text             NOT NULL,
    "judgeVersion"        text             NOT NULL,
    "overallScore"        double precision NOT NULL,
    "componentScoresJson" text,
    rank                  integer,
    "normalizedScore"     double precision,
    "groupId"             text,
    reasoning             text             NOT NULL,
    "strengthsJson"       text,
    "weaknessesJson"      text,
    "criteriaJson"        text             NOT NULL,
    "judgedAt"            timestamp        NOT NULL DEFAULT now(),
    CONSTRAINT reward_judgments_pkey PRIMARY KEY (id),
    CONSTRAINT "reward_judgments_trajectoryId_unique" UNIQUE ("trajectoryId")
);
CREATE INDEX "reward_judgments_groupId_rank_idx" ON reward_judgments ("groupId", rank);
CREATE INDEX "reward_judgments_overallScore_idx" ON reward_judgments ("overallScore");
