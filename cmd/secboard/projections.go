package main

type projectionsCmd struct {
	Status  projectionsStatusCmd  `cmd:"" help:"Show position, lag, state and error of each projection."`
	Rebuild projectionsRebuildCmd `cmd:"" help:"Rebuild read models from the event log, without downtime."`
	Verify  projectionsVerifyCmd  `cmd:"" help:"Compare read models with the event log."`

	RebuildProcess rebuildProcessCmd `cmd:"" hidden:"" help:"What serve, rebuild and verify start for a rebuild."`
}
