"""The order of a deployment, and of its reversal when a step fails.

    begin ▶ prepare ▶ release step ▶ start ▶ watch ▶ check routes ▶ clean up ▶ remember
                      │              │        └─ failed, timed out ▶ reverse ▶ watch, report
                      │              └─ interrupted ▶ finish; the cluster goes on by itself, the
                      │                 next deploy resumes it
                      └─ failed ▶ finish; no replica was touched

Where services depend on one another, start and watch go in dependency order.

Nothing here knows which cluster it is.
"""
