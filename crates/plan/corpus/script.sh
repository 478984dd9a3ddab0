#!/bin/sh
exec web --port 80
