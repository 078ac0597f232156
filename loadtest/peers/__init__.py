"""The same models behind other servers, measured beside ours."""
