-- The tables of a Babylon database that this project reads or writes, as pg_dump prints those of a
-- database that Babylon's Drizzle schema of today (28f223d6) has made; beside them a table that is
-- Babylon's alone. An independent second reading, not a copy of babylon_tasks/db/babylon_tables.sql.
CREATE TABLE "User" (
    id text NOT NULL,
    "isAgent" boolean DEFAULT false NOT NULL,
    "displayName" text
);

CREATE TABLE llm_call_logs (
    id text NOT NULL,
    "trajectoryId" text NOT NULL,
    "stepId" text NOT NULL,
    "callId" text NOT NULL,
    "timestamp" timestamp without time zone NOT NULL,
    "latencyMs" integer,
    model text NOT NULL,
    purpose text NOT NULL,
    "actionType" text,
    "systemPrompt" text NOT NULL,
    "userPrompt" text NOT NULL,
    "messagesJson" text,
    response text NOT NULL,
    reasoning text,
    temperature double precision NOT NULL,
    "maxTokens" integer NOT NULL,
    "topP" double precision,
    "promptTokens" integer,
    "completionTokens" integer,
    "totalTokens" integer,
    metadata text,
    "createdAt" timestamp without time zone DEFAULT now() NOT NULL
);

CREATE TABLE market_outcomes (
    id text NOT NULL,
    "windowId" character varying(50) NOT NULL,
    "stockTicker" character varying(20),
    "startPrice" numeric(10,2),
    "endPrice" numeric(10,2),
    "changePercent" numeric(5,2),
    sentiment character varying(20),
    "newsEvents" json,
    "predictionMarketId" text,
    question text,
    outcome character varying(20),
    "finalProbability" numeric(5,4),
    volume numeric(15,2),
    "createdAt" timestamp without time zone DEFAULT now() NOT NULL
);

CREATE TABLE reward_judgments (
    id text NOT NULL,
    "trajectoryId" text NOT NULL,
    "judgeModel" text NOT NULL,
    "judgeVersion" text NOT NULL,
    "overallScore" double precision NOT NULL,
    "componentScoresJson" text,
    rank integer,
    "normalizedScore" double precision,
    "groupId" text,
    reasoning text NOT NULL,
    "strengthsJson" text,
    "weaknessesJson" text,
    "criteriaJson" text NOT NULL,
    "judgedAt" timestamp without time zone DEFAULT now() NOT NULL
);

CREATE TABLE trained_models (
    id text NOT NULL,
    "modelId" text NOT NULL,
    version text NOT NULL,
    "baseModel" text NOT NULL,
    "trainingBatch" text,
    status text DEFAULT 'training'::text NOT NULL,
    "deployedAt" timestamp without time zone,
    "archivedAt" timestamp without time zone,
    "storagePath" text NOT NULL,
    "benchmarkScore" double precision,
    accuracy double precision,
    "avgReward" double precision,
    "evalMetrics" json,
    "wandbRunId" text,
    "wandbArtifactId" text,
    "huggingFaceRepo" text,
    "agentsUsing" integer DEFAULT 0 NOT NULL,
    "totalInferences" integer DEFAULT 0 NOT NULL,
    "lastBenchmarked" timestamp without time zone,
    "benchmarkCount" integer DEFAULT 0 NOT NULL,
    "createdAt" timestamp without time zone DEFAULT now() NOT NULL,
    "updatedAt" timestamp without time zone NOT NULL
);

CREATE TABLE training_batches (
    id text NOT NULL,
    "batchId" text NOT NULL,
    "scenarioId" text,
    "baseModel" text NOT NULL,
    "modelVersion" text NOT NULL,
    "trajectoryIds" text NOT NULL,
    "rankingsJson" text,
    "rewardsJson" text NOT NULL,
    "trainingLoss" double precision,
    "policyImprovement" double precision,
    status text DEFAULT 'pending'::text NOT NULL,
    error text,
    "createdAt" timestamp without time zone DEFAULT now() NOT NULL,
    "startedAt" timestamp without time zone,
    "completedAt" timestamp without time zone
);

CREATE TABLE trajectories (
    id text NOT NULL,
    "trajectoryId" text NOT NULL,
    "agentId" text NOT NULL,
    archetype character varying(50),
    "startTime" timestamp without time zone NOT NULL,
    "endTime" timestamp without time zone NOT NULL,
    "durationMs" integer NOT NULL,
    "windowId" character varying(50),
    "windowHours" integer DEFAULT 1 NOT NULL,
    "episodeId" character varying(100),
    "scenarioId" character varying(100),
    "batchId" character varying(100),
    "stepsJson" text NOT NULL,
    "rewardComponentsJson" text NOT NULL,
    "metricsJson" text NOT NULL,
    "metadataJson" text NOT NULL,
    "totalReward" double precision NOT NULL,
    "episodeLength" integer NOT NULL,
    "finalStatus" text NOT NULL,
    "finalBalance" double precision,
    "finalPnL" double precision,
    "tradesExecuted" integer,
    "postsCreated" integer,
    "aiJudgeReward" double precision,
    "aiJudgeReasoning" text,
    "judgedAt" timestamp without time zone,
    "isTrainingData" boolean DEFAULT true NOT NULL,
    "isEvaluation" boolean DEFAULT false NOT NULL,
    "usedInTraining" boolean DEFAULT false NOT NULL,
    "trainedInBatch" text,
    "createdAt" timestamp without time zone DEFAULT now() NOT NULL,
    "updatedAt" timestamp without time zone NOT NULL
);
ALTER TABLE ONLY "User"
    ADD CONSTRAINT "User_pkey" PRIMARY KEY (id);
ALTER TABLE ONLY llm_call_logs
    ADD CONSTRAINT "llm_call_logs_callId_unique" UNIQUE ("callId");
ALTER TABLE ONLY llm_call_logs
    ADD CONSTRAINT llm_call_logs_pkey PRIMARY KEY (id);
ALTER TABLE ONLY market_outcomes
    ADD CONSTRAINT market_outcomes_pkey PRIMARY KEY (id);
ALTER TABLE ONLY reward_judgments
    ADD CONSTRAINT reward_judgments_pkey PRIMARY KEY (id);
ALTER TABLE ONLY reward_judgments
    ADD CONSTRAINT "reward_judgments_trajectoryId_unique" UNIQUE ("trajectoryId");
ALTER TABLE ONLY trained_models
    ADD CONSTRAINT "trained_models_modelId_unique" UNIQUE ("modelId");
ALTER TABLE ONLY trained_models
    ADD CONSTRAINT trained_models_pkey PRIMARY KEY (id);
ALTER TABLE ONLY training_batches
    ADD CONSTRAINT "training_batches_batchId_unique" UNIQUE ("batchId");
ALTER TABLE ONLY training_batches
    ADD CONSTRAINT training_batches_pkey PRIMARY KEY (id);
ALTER TABLE ONLY trajectories
    ADD CONSTRAINT trajectories_pkey PRIMARY KEY (id);
ALTER TABLE ONLY trajectories
    ADD CONSTRAINT "trajectories_trajectoryId_unique" UNIQUE ("trajectoryId");

CREATE INDEX "trajectories_agentId_startTime_idx" ON trajectories USING btree ("agentId", "startTime");
CREATE INDEX "trajectories_aiJudgeReward_idx" ON trajectories USING btree ("aiJudgeReward");
CREATE INDEX trajectories_archetype_idx ON trajectories USING btree (archetype);
CREATE INDEX "trajectories_isTrainingData_usedInTraining_idx" ON trajectories USING btree ("isTrainingData", "usedInTraining");
CREATE INDEX "trajectories_scenarioId_createdAt_idx" ON trajectories USING btree ("scenarioId", "createdAt");
CREATE INDEX "trajectories_trainedInBatch_idx" ON trajectories USING btree ("trainedInBatch");
CREATE INDEX "trajectories_windowId_agentId_idx" ON trajectories USING btree ("windowId", "agentId");
CREATE INDEX "trajectories_windowId_idx" ON trajectories USING btree ("windowId");
CREATE INDEX "llm_call_logs_callId_idx" ON llm_call_logs USING btree ("callId");
CREATE INDEX "llm_call_logs_createdAt_idx" ON llm_call_logs USING btree ("createdAt");
CREATE INDEX llm_call_logs_timestamp_idx ON llm_call_logs USING btree ("timestamp");
CREATE INDEX "llm_call_logs_trajectoryId_idx" ON llm_call_logs USING btree ("trajectoryId");
CREATE INDEX "market_outcomes_windowId_idx" ON market_outcomes USING btree ("windowId");
CREATE INDEX "market_outcomes_windowId_stockTicker_idx" ON market_outcomes USING btree ("windowId", "stockTicker");
CREATE INDEX "trained_models_deployedAt_idx" ON trained_models USING btree ("deployedAt");
CREATE INDEX "trained_models_lastBenchmarked_idx" ON trained_models USING btree ("lastBenchmarked");
CREATE INDEX trained_models_status_idx ON trained_models USING btree (status);
CREATE INDEX trained_models_version_idx ON trained_models USING btree (version);
CREATE INDEX "training_batches_scenarioId_idx" ON training_batches USING btree ("scenarioId");
CREATE INDEX "training_batches_status_createdAt_idx" ON training_batches USING btree (status, "createdAt");
CREATE INDEX "reward_judgments_groupId_rank_idx" ON reward_judgments USING btree ("groupId", rank);
CREATE INDEX "reward_judgments_overallScore_idx" ON reward_judgments USING btree ("overallScore");
