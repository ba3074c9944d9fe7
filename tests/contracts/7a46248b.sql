-- The tables of a Babylon database that this project reads or writes, as Babylon's own Prisma
-- migration makes them, typed from the data contract; beside them a table that is Babylon's
-- alone. Upper-case types and quoted names as Prisma prints them: an independent second reading,
-- not a copy of anything of ours.
CREATE TABLE "User" (
    "id" TEXT NOT NULL,
    "username" TEXT,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMP(3) NOT NULL,
    CONSTRAINT "User_pkey" PRIMARY KEY ("id")
);

CREATE TABLE "trajectories" (
    "id" TEXT NOT NULL,
    "trajectoryId" TEXT NOT NULL,
    "agentId" TEXT NOT NULL,
    "startTime" TIMESTAMP(3) NOT NULL,
    "endTime" TIMESTAMP(3) NOT NULL,
    "durationMs" INTEGER NOT NULL,
    "windowId" VARCHAR(50),
    "windowHours" INTEGER NOT NULL DEFAULT 1,
    "episodeId" VARCHAR(100),
    "scenarioId" VARCHAR(100),
    "batchId" VARCHAR(100),
    "stepsJson" TEXT NOT NULL,
    "rewardComponentsJson" TEXT NOT NULL,
    "metricsJson" TEXT NOT NULL,
    "metadataJson" TEXT NOT NULL,
    "totalReward" DOUBLE PRECISION NOT NULL,
    "episodeLength" INTEGER NOT NULL,
    "finalStatus" TEXT NOT NULL,
    "finalBalance" DOUBLE PRECISION,
    "finalPnL" DOUBLE PRECISION,
    "tradesExecuted" INTEGER,
    "postsCreated" INTEGER,
    "aiJudgeReward" DOUBLE PRECISION,
    "aiJudgeReasoning" TEXT,
    "judgedAt" TIMESTAMP(3),
    "isTrainingData" BOOLEAN NOT NULL DEFAULT true,
    "isEvaluation" BOOLEAN NOT NULL DEFAULT false,
    "usedInTraining" BOOLEAN NOT NULL DEFAULT false,
    "trainedInBatch" TEXT,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMP(3) NOT NULL,
    CONSTRAINT "trajectories_pkey" PRIMARY KEY ("id")
);

CREATE TABLE "llm_call_logs" (
    "id" TEXT NOT NULL,
    "trajectoryId" TEXT NOT NULL,
    "stepId" TEXT NOT NULL,
    "callId" TEXT NOT NULL,
    "timestamp" TIMESTAMP(3) NOT NULL,
    "latencyMs" INTEGER,
    "model" TEXT NOT NULL,
    "purpose" TEXT NOT NULL,
    "actionType" TEXT,
    "systemPrompt" TEXT NOT NULL,
    "userPrompt" TEXT NOT NULL,
    "messagesJson" TEXT,
    "response" TEXT NOT NULL,
    "reasoning" TEXT,
    "temperature" DOUBLE PRECISION NOT NULL,
    "maxTokens" INTEGER NOT NULL,
    "topP" DOUBLE PRECISION,
    "promptTokens" INTEGER,
    "completionTokens" INTEGER,
    "totalTokens" INTEGER,
    "metadata" TEXT,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT "llm_call_logs_pkey" PRIMARY KEY ("id")
);

CREATE TABLE "market_outcomes" (
    "id" TEXT NOT NULL,
    "windowId" VARCHAR(50) NOT NULL,
    "stockTicker" VARCHAR(20),
    "startPrice" DECIMAL(10,2),
    "endPrice" DECIMAL(10,2),
    "changePercent" DECIMAL(5,2),
    "sentiment" VARCHAR(20),
    "newsEvents" JSONB,
    "predictionMarketId" TEXT,
    "question" TEXT,
    "outcome" VARCHAR(20),
    "finalProbability" DECIMAL(5,4),
    "volume" DECIMAL(15,2),
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT "market_outcomes_pkey" PRIMARY KEY ("id")
);

CREATE TABLE "trained_models" (
    "id" TEXT NOT NULL,
    "modelId" TEXT NOT NULL,
    "version" TEXT NOT NULL,
    "baseModel" TEXT NOT NULL,
    "trainingBatch" TEXT,
    "status" TEXT NOT NULL DEFAULT 'training',
    "deployedAt" TIMESTAMP(3),
    "archivedAt" TIMESTAMP(3),
    "storagePath" TEXT NOT NULL,
    "benchmarkScore" DOUBLE PRECISION,
    "accuracy" DOUBLE PRECISION,
    "avgReward" DOUBLE PRECISION,
    "evalMetrics" JSONB,
    "wandbRunId" TEXT,
    "wandbArtifactId" TEXT,
    "agentsUsing" INTEGER NOT NULL DEFAULT 0,
    "totalInferences" INTEGER NOT NULL DEFAULT 0,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMP(3) NOT NULL,
    CONSTRAINT "trained_models_pkey" PRIMARY KEY ("id")
);

CREATE TABLE "training_batches" (
    "id" TEXT NOT NULL,
    "batchId" TEXT NOT NULL,
    "scenarioId" TEXT,
    "baseModel" TEXT NOT NULL,
    "modelVersion" TEXT NOT NULL,
    "trajectoryIds" TEXT NOT NULL,
    "rankingsJson" TEXT,
    "rewardsJson" TEXT NOT NULL,
    "trainingLoss" DOUBLE PRECISION,
    "policyImprovement" DOUBLE PRECISION,
    "status" TEXT NOT NULL DEFAULT 'pending',
    "error" TEXT,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "startedAt" TIMESTAMP(3),
    "completedAt" TIMESTAMP(3),
    CONSTRAINT "training_batches_pkey" PRIMARY KEY ("id")
);

CREATE TABLE "reward_judgments" (
    "id" TEXT NOT NULL,
    "trajectoryId" TEXT NOT NULL,
    "judgeModel" TEXT NOT NULL,
    "judgeVersion" TEXT NOT NULL,
    "overallScore" DOUBLE PRECISION NOT NULL,
    "componentScoresJson" TEXT,
    "rank" INTEGER,
    "normalizedScore" DOUBLE PRECISION,
    "groupId" TEXT,
    "reasoning" TEXT NOT NULL,
    "strengthsJson" TEXT,
    "weaknessesJson" TEXT,
    "criteriaJson" TEXT NOT NULL,
    "judgedAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT "reward_judgments_pkey" PRIMARY KEY ("id")
);

CREATE UNIQUE INDEX "trajectories_trajectoryId_key" ON "trajectories"("trajectoryId");
CREATE INDEX "trajectories_agentId_startTime_idx" ON "trajectories"("agentId", "startTime");
CREATE INDEX "trajectories_aiJudgeReward_idx" ON "trajectories"("aiJudgeReward");
CREATE INDEX "trajectories_isTrainingData_usedInTraining_idx" ON "trajectories"("isTrainingData", "usedInTraining");
CREATE INDEX "trajectories_scenarioId_createdAt_idx" ON "trajectories"("scenarioId", "createdAt");
CREATE INDEX "trajectories_trainedInBatch_idx" ON "trajectories"("trainedInBatch");
CREATE INDEX "trajectories_windowId_agentId_idx" ON "trajectories"("windowId", "agentId");
CREATE INDEX "trajectories_windowId_idx" ON "trajectories"("windowId");
CREATE UNIQUE INDEX "llm_call_logs_callId_key" ON "llm_call_logs"("callId");
CREATE INDEX "llm_call_logs_callId_idx" ON "llm_call_logs"("callId");
CREATE INDEX "llm_call_logs_timestamp_idx" ON "llm_call_logs"("timestamp");
CREATE INDEX "llm_call_logs_trajectoryId_idx" ON "llm_call_logs"("trajectoryId");
CREATE INDEX "market_outcomes_windowId_idx" ON "market_outcomes"("windowId");
CREATE INDEX "market_outcomes_windowId_stockTicker_idx" ON "market_outcomes"("windowId", "stockTicker");
CREATE UNIQUE INDEX "trained_models_modelId_key" ON "trained_models"("modelId");
CREATE INDEX "trained_models_status_idx" ON "trained_models"("status");
CREATE INDEX "trained_models_version_idx" ON "trained_models"("version");
CREATE INDEX "trained_models_deployedAt_idx" ON "trained_models"("deployedAt");
CREATE UNIQUE INDEX "training_batches_batchId_key" ON "training_batches"("batchId");
CREATE INDEX "training_batches_scenarioId_idx" ON "training_batches"("scenarioId");
CREATE INDEX "training_batches_status_createdAt_idx" ON "training_batches"("status", "createdAt");
CREATE UNIQUE INDEX "reward_judgments_trajectoryId_key" ON "reward_judgments"("trajectoryId");
CREATE INDEX "reward_judgments_overallScore_idx" ON "reward_judgments"("overallScore");
CREATE INDEX "reward_judgments_groupId_rank_idx" ON "reward_judgments"("groupId", "rank");

ALTER TABLE "trajectories" ADD CONSTRAINT "trajectories_agentId_fkey" FOREIGN KEY ("agentId") REFERENCES "User"("id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "reward_judgments" ADD CONSTRAINT "reward_judgments_trajectoryId_fkey" FOREIGN KEY ("trajectoryId") REFERENCES "trajectories"("trajectoryId") ON DELETE CASCADE ON UPDATE CASCADE;
